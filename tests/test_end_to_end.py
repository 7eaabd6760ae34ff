"""The archives in a real TorchServe, asked as users ask: REST and gRPC, in every form of a body."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from tests.servers import free_ports_config, running
from torchtowers.handlers import Recommender
from torchtowers.models.evaluation import model_scorer
from torchtowers.models.experiment import Trained
from torchtowers.serving import Client, Server
from torchtowers.serving.errors import AnswerError
from torchtowers.serving.tokens import Tokens

pytestmark = pytest.mark.java

MODELS = ("tiny-onnx", "tiny-torchscript")


@pytest.fixture(scope="module")
def server(archives: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("end-to-end")
    with running(archives, free_ports_config(folder), folder / "state") as started:
        yield started


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[Client]:
    with Client.from_state(server.state) as connected:
        yield connected


@pytest.fixture(scope="module")
def http(server: Server) -> Iterator[httpx.Client]:
    """The REST API as any other program sees it."""
    token = Tokens(server.state, server.record.management).current("inference")
    with httpx.Client(
        base_url=server.record.inference, headers={"Authorization": f"Bearer {token}"}, trust_env=False
    ) as connected:
        yield connected


@pytest.mark.parametrize("grpc", [False, True], ids=["rest", "grpc"])
@pytest.mark.parametrize("model", MODELS)
def test_a_served_answer_is_the_trained_models(
    client: Client, trained: Trained, model: str, grpc: bool
) -> None:
    dataset = trained.dataset
    scores = model_scorer(trained.towers, dataset)(np.arange(4))
    for user in range(4):
        answer = client.predict(model, {"user_id": dataset.users.tokens[user], "k": 60}, grpc=grpc)
        rows = [dataset.items.tokens.index(item) for item in answer["items"]]
        assert sorted(rows) == list(range(60))
        np.testing.assert_allclose(answer["scores"], scores[user][rows], atol=1e-5)
        assert answer["scores"] == sorted(answer["scores"], reverse=True)


@pytest.mark.parametrize("model", MODELS)
def test_rest_and_grpc_agree_to_the_byte(client: Client, model: str) -> None:
    body = {"user_id": "u3", "k": 7, "exclude": ["100", 101], "fields": ["title", "year", "genres"]}
    over_rest, over_grpc = (client.predict(model, body, grpc=grpc) for grpc in (False, True))
    assert over_rest == over_grpc
    assert len(over_rest["items"]) == 7
    assert not {"100", "101"} & set(over_rest["items"])
    assert over_rest["fields"]["title"][0].startswith("Misérables")


def test_instances_are_answered_in_their_own_dialect(client: Client) -> None:
    rows = [
        {"user_id": "u1", "k": 2},
        {"user_id": "nobody"},
        {"user_id": "u2", "age": 33, "history": ["100", "102"]},
    ]
    for grpc in (False, True):
        answer = client.predict("tiny-onnx", {"instances": rows, "k": 3}, grpc=grpc)
        assert [len(row["items"]) for row in answer["predictions"]] == [2, 3, 3]


BODY = b'{"user_id": "u3", "k": 4}'
FORMS: dict[str, dict[str, Any]] = {
    "json": {"content": BODY, "headers": {"Content-Type": "application/json"}},
    "json with a charset": {"content": BODY, "headers": {"Content-Type": "application/json; charset=utf-8"}},
    "text": {"content": BODY, "headers": {"Content-Type": "text/plain"}},
    "bytes": {"content": BODY, "headers": {"Content-Type": "application/octet-stream"}},
    "multipart data": {"files": {"data": BODY}},
    "multipart body": {"files": {"body": BODY}},
    "form fields": {"data": {"user_id": "u3", "k": "4"}},
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_body_gets_the_same_answer(http: httpx.Client, client: Client, form: str) -> None:
    answer = http.post("/predictions/tiny-onnx", **FORMS[form])
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["items"] == client.predict("tiny-onnx", json.loads(BODY))["items"]


def test_json_sent_as_a_form_is_told_the_header_that_it_lacks(http: httpx.Client) -> None:
    """What `curl -d` sends without a header: TorchServe takes it for a form and hands over nothing."""
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = http.post("/predictions/tiny-onnx", content=BODY, headers=form)
    assert answer.status_code == 400
    assert "Content-Type: application/json" in answer.json()["message"]


MALFORMED: list[tuple[bytes, str]] = [
    (b"{", "not JSON"),
    (b"", "empty"),
    (b"\xff\xfe", "UTF-8"),
    (b"[]", "JSON object"),
    (b"null", "JSON"),
    (b"{}", "user_id"),
    (b'{"instances": []}', "instances is empty"),
    (b'{"instances": [{"user_id": "u1"}, {"k": 3}]}', "instances[1].user_id"),
    (b'{"user_id": "u1", "k": 0}', "k: expected an integer from 1 to 10000, got 0"),
    (b'{"user_id": "u1", "k": 10001}', "got 10001"),
    (b'{"user_id": "u1", "k": "many"}', "got many"),
    (b'{"user_id": {"a": 1}}', "user_id"),
    (b'{"user_id": "u1", "age": "old"}', "age: expected a finite number, got old"),
    (b'{"user_id": "u1", "age": NaN}', "age"),
    (b'{"user_id": "u1", "history": "100"}', "history"),
    (b'{"user_id": "u1", "exclude": "100"}', "exclude"),
    (b'{"user_id": "u1", "fields": ["plot"]}', "title"),
    (b'{"user_id": "u1", "usr": 1}', "usr"),
]


@pytest.mark.parametrize(("body", "said"), MALFORMED, ids=[repr(body)[2:40] for body, _ in MALFORMED])
def test_a_malformed_body_is_answered_with_400_and_its_reason(
    http: httpx.Client, body: bytes, said: str
) -> None:
    answer = http.post("/predictions/tiny-onnx", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400, answer.text
    error = answer.json()
    assert (error["code"], set(error) >= {"type", "message"}) == (400, True)
    assert said in error["message"]
    assert "\n" not in error["message"]
    assert "Traceback" not in answer.text


def test_grpc_carries_the_same_error_in_its_body(client: Client) -> None:
    errors = []
    for grpc in (False, True):
        with pytest.raises(AnswerError) as caught:
            client.predict("tiny-torchscript", {"user_id": "u1", "k": 0}, grpc=grpc)
        errors.append((caught.value.code, caught.value.type, str(caught.value)))
    assert errors[0] == errors[1]
    assert errors[0][0] == 400


def test_a_k_above_the_catalogue_gives_the_whole_catalogue(client: Client) -> None:
    assert len(client.predict("tiny-onnx", {"user_id": "u1", "k": 10_000})["items"]) == 60


def test_excluding_everything_gives_an_empty_list(client: Client, trained: Trained) -> None:
    body = {"user_id": "u1", "exclude": list(trained.dataset.items.tokens)}
    assert client.predict("tiny-onnx", body) == {"items": [], "scores": []}


@pytest.mark.parametrize(
    ("clients", "seconds"),
    [(8, 3.0), pytest.param(64, 30.0, marks=pytest.mark.slow)],
    ids=["8 clients", "64 clients"],
)
def test_concurrent_clients_each_get_their_own_answer(
    server: Server, artifact: Path, clients: int, seconds: float
) -> None:
    """Every tenth request is malformed: it alone is answered 4xx, every other one 200 and right."""
    recommender = Recommender.load(artifact, runtime="onnx")
    bodies = [{"user_id": f"u{user}", "k": 1 + user % 20} for user in range(40)]
    expected = [recommender.recommend(body) for body in bodies]
    counts = asyncio.run(_load(server, bodies, expected, clients, seconds))
    print(f"{clients} clients, {seconds:g} s: {dict(counts)}")
    assert counts["wrong"] == 0, counts
    assert counts["right"] > 10 * clients
    assert counts["refused"] > clients
    assert abs(counts["refused"] / (counts["refused"] + counts["right"]) - 0.1) < 0.02


async def _load(
    server: Server, bodies: list[dict[str, Any]], expected: list[dict[str, Any]], clients: int, seconds: float
) -> Counter[str]:
    token = Tokens(server.state, server.record.management).current("inference")
    counts: Counter[str] = Counter()
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    limits = httpx.Limits(max_connections=clients, max_keepalive_connections=clients)
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds

    async def ask(number: int, http: httpx.AsyncClient) -> None:
        generator = random.Random(number)
        sent = number
        while loop.time() < end:
            sent += 1
            if sent % 10 == 0:
                content = generator.choice(MALFORMED)[0]
                answer = await http.post("/predictions/tiny-onnx", content=content)
                counts["refused" if 400 <= answer.status_code < 500 else "wrong"] += 1
                continue
            chosen = generator.randrange(len(bodies))
            answer = await http.post("/predictions/tiny-onnx", json=bodies[chosen])
            right = answer.status_code == 200 and _same(answer.json(), expected[chosen])
            counts["right" if right else "wrong"] += 1

    async with httpx.AsyncClient(
        base_url=server.record.inference, headers=headers, limits=limits, timeout=30, trust_env=False
    ) as http:
        await asyncio.gather(*(ask(number, http) for number in range(clients)))
    return counts


def _same(got: dict[str, Any], expected: dict[str, Any]) -> bool:
    """Compare two answers; items whose scores are equal but for rounding may change places."""
    if len(got["items"]) != len(expected["items"]):
        return False
    if not np.allclose(got["scores"], expected["scores"], atol=1e-5):
        return False
    known = dict(zip(expected["items"], expected["scores"], strict=True))
    last = expected["scores"][-1]
    return all(
        abs(known.get(item, last) - score) < 1e-5
        for item, score in zip(got["items"], got["scores"], strict=True)
    )
