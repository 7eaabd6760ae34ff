"""A ranking archive in a real TorchServe beside a retrieval one, asked over REST and gRPC."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.servers import free_ports_config, running
from torchtowers.cli import main as cli
from torchtowers.models.batch_tensors import to_tensors
from torchtowers.models.experiment import Trained
from torchtowers.serving import Client, Server
from torchtowers.serving.errors import AnswerError

pytestmark = pytest.mark.java

MODELS = ("ranking-onnx", "ranking-torchscript")


@pytest.fixture(scope="module")
def server(
    archives: Path, ranking_archives: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("ranking-end-to-end")
    store = folder / "store"
    shutil.copytree(ranking_archives, store)
    shutil.copy(archives / "tiny-onnx.mar", store)
    with running(store, free_ports_config(folder), folder / "state") as started:
        yield started


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[Client]:
    with Client.from_state(server.state) as connected:
        yield connected


@pytest.mark.parametrize("grpc", [False, True], ids=["rest", "grpc"])
@pytest.mark.parametrize("model", MODELS)
def test_served_scores_are_the_trained_models(
    client: Client, ranking_trained: Trained, model: str, grpc: bool
) -> None:
    dataset, items = ranking_trained.dataset, np.arange(60)
    asked = [dataset.items.tokens[row] for row in items]
    for user in range(3):
        features = {**dataset.users.take(np.full(60, user)), **dataset.items.take(items)}
        features["hour"] = np.full(60, dataset.context_encoders["hour"].encode_value(20, "hour"))
        with torch.inference_mode():
            expected = ranking_trained.model.eval()(to_tensors(features)).numpy()
        body = {"user_id": dataset.users.tokens[user], "hour": 20, "candidates": asked}
        answer = client.predict(model, body, grpc=grpc)
        assert answer["items"] == asked
        np.testing.assert_allclose(answer["scores"], expected, rtol=0, atol=1e-5)
        best = client.predict(model, {**body, "k": 5}, grpc=grpc)
        order = np.argsort(-expected, kind="stable")[:5]
        np.testing.assert_allclose(best["scores"], expected[order], rtol=0, atol=1e-5)


@pytest.mark.parametrize("model", MODELS)
def test_rest_and_grpc_agree(client: Client, model: str) -> None:
    body = {
        "instances": [
            {"user_id": "u1"},
            {"user_id": "stranger", "age": 33, "candidates": [{"item_id": "new", "year": 1999}, "100"]},
        ],
        "candidates": ["101", "nothing", 101],
    }
    over_rest, over_grpc = (client.predict(model, body, grpc=grpc) for grpc in (False, True))
    assert over_rest == over_grpc
    first, second = over_rest["predictions"]
    assert (first["items"], second["items"]) == (["101", "nothing", "101"], ["new", "100"])
    assert first["scores"][0] == pytest.approx(first["scores"][2], abs=1e-5)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"user_id": "u1"}, "candidates: missing"),
        ({"user_id": "u1", "candidates": []}, "candidates: expected a list of candidates"),
        ({"user_id": "u1", "candidates": ["100"], "k": 2}, "k: expected at most 1"),
        ({"user_id": "u1", "candidates": ["100", None]}, "candidates[1]: expected an item id"),
        ({"user_id": "u1", "candidates": ["1"] * 10_001}, "at most 10000 candidates a row, got 10001"),
    ],
)
def test_a_malformed_request_is_refused_with_its_reason(
    client: Client, body: dict[str, Any], said: str
) -> None:
    for grpc in (False, True):
        with pytest.raises(AnswerError) as caught:
            client.predict("ranking-onnx", body, grpc=grpc)
        assert caught.value.code == 400
        assert said in str(caught.value)


def test_the_retrieval_model_beside_it_answers(client: Client) -> None:
    assert len(client.predict("tiny-onnx", {"user_id": "u1", "k": 3})["items"]) == 3


def test_the_command_prints_a_table(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    body = json.dumps({"user_id": "u1", "candidates": ["100", "101", "102"]})
    assert cli.main(["recommend", "ranking-onnx", body, "-k", "2", "--state", str(server.state)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["item", "score"]
    assert len([line for line in lines if line.split()[0] in ("100", "101", "102")]) == 2
