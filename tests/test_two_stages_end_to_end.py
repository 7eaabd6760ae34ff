"""Two stages in a real TorchServe, asked over REST and gRPC, alone and many at once."""

import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.servers import free_ports_config, running
from torchtowers.handlers import TwoStageRecommender
from torchtowers.serving import Client, Server
from torchtowers.serving.errors import AnswerError

pytestmark = pytest.mark.java

PROBE = Path(__file__).parents[1] / "examples/release-pipeline/probe.py"
MODELS = ("both-onnx", "both-torchscript")


@pytest.fixture(scope="module")
def server(combined_archives: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("two-stages")
    with running(combined_archives, free_ports_config(folder), folder / "state") as started:
        yield started


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[Client]:
    with Client.from_state(server.state) as connected:
        yield connected


@pytest.mark.parametrize("grpc", [False, True], ids=["rest", "grpc"])
@pytest.mark.parametrize("model", MODELS)
def test_a_served_answer_is_the_artifacts(
    client: Client, combined_artifact: Path, model: str, grpc: bool
) -> None:
    both = TwoStageRecommender.load(combined_artifact, runtime=model.removeprefix("both-"))
    bodies: list[dict[str, Any]] = [
        {"user_id": "u3", "k": 7, "fields": ["title", "genres"]},
        {"user_id": "nobody", "age": 33, "hour": 7, "history": ["100", "102"], "exclude_history": True},
        {"user_id": "u1", "candidates": 60, "k": 60, "exclude": ["100", 101]},
        {"instances": [{"user_id": "u1", "k": 2}, {"user_id": "u2", "candidates": 1}], "k": 3},
    ]
    for body in bodies:
        answer, expected = client.predict(model, body, grpc=grpc), both.recommend(body)
        for row, own in zip(
            answer.get("predictions", [answer]), expected.get("predictions", [expected]), strict=True
        ):
            assert row["items"] == own["items"]
            np.testing.assert_allclose(row["scores"], own["scores"], rtol=0, atol=1e-5)
            assert row.get("fields") == own.get("fields")


def test_a_releases_probe_compares_the_server_with_the_artifact(
    server: Server, combined_artifact: Path
) -> None:
    request = {"user_id": "u3", "hour": 7, "k": 5, "candidates": 30}
    command = [sys.executable, str(PROBE), str(combined_artifact), "both-torchscript", json.dumps(request)]
    command += ["--state", str(server.state)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["items"]) == 5


def test_what_is_asked_at_once_is_answered_as_if_alone(client: Client) -> None:
    bodies = [{"user_id": f"u{number % 40}", "k": 1 + number % 9, "candidates": 9} for number in range(64)]
    alone = [client.predict("both-onnx", body) for body in bodies]
    with ThreadPoolExecutor(16) as pool:
        at_once = list(pool.map(lambda body: client.predict("both-onnx", body), bodies))
    for one, other, body in zip(alone, at_once, bodies, strict=True):
        assert one["items"] == other["items"]
        assert len(one["items"]) == body["k"]
        np.testing.assert_allclose(one["scores"], other["scores"], rtol=0, atol=1e-5)


@pytest.mark.parametrize("grpc", [False, True], ids=["rest", "grpc"])
@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"user_id": "u1", "candidates": 10_001}, "candidates: expected an integer from 1 to 10000"),
        ({"user_id": "u1", "candidates": ["100"]}, "candidates: expected an integer"),
        ({"user_id": ["u1"]}, "user_id: expected a string or an integer"),
        ({"user_id": "u1", "hour": "noon"}, "hour: expected a finite number"),
        (
            {"instances": [{"user_id": "u1"}, {"user_id": "u1", "k": 0}]},
            r"instances[1].k: expected an integer",
        ),
    ],
)
def test_what_is_wrong_is_the_requests_own_error(
    client: Client, body: dict[str, Any], message: str, grpc: bool
) -> None:
    with pytest.raises(AnswerError) as raised:
        client.predict("both-onnx", body, grpc=grpc)
    assert message in json.dumps(str(raised.value))
