"""One real TorchServe, asked for the same rows in every dialect by every way it has, and for all options."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from tests.open_inference import model_infer
from tests.servers import free_ports_config, running
from torchtowers.cli.main import main
from torchtowers.serving import Client, Server
from torchtowers.serving.errors import AnswerError
from torchtowers.serving.tokens import Tokens

pytestmark = pytest.mark.java

MODEL = "tiny-onnx"
ROUTES = ("/predictions/{}", "/v1/models/{}:predict", "/v2/models/{}/infer")
USERS = ["u3", "u7", "nobody"]
OPTIONS: dict[str, Any] = {
    "k": 4,
    "exclude": ["100", "103"],
    "exclude_history": True,
    "fields": ["title", "year", "genres"],
    "filter": {"genres": ["Comedy", "Drama"], "year": {"min": 1975}},
    "diversity": {"genres": 3},
}

Ask = Callable[[dict[str, Any]], Any]


@pytest.fixture(scope="module")
def server(archives: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("dialects")
    config = free_ports_config(folder, ts_open_inference_protocol="true")
    with running(archives, config, folder / "state") as started:
        yield started


@pytest.fixture(scope="module")
def token(server: Server) -> str:
    return Tokens(server.state, server.record.management).current("inference")


@pytest.fixture(scope="module")
def http(server: Server, token: str) -> Iterator[httpx.Client]:
    with httpx.Client(
        base_url=server.record.inference, headers={"Authorization": f"Bearer {token}"}, trust_env=False
    ) as connected:
        yield connected


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[Client]:
    with Client.from_state(server.state) as connected:
        yield connected


@pytest.fixture(scope="module")
def channel(server: Server) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(server.record.grpc, options=[("grpc.enable_http_proxy", 0)]) as connected:
        yield connected


@pytest.fixture(params=[*ROUTES, "grpc"], ids=["predictions", "v1", "v2", "grpc"])
def ask(request: pytest.FixtureRequest, http: httpx.Client, client: Client) -> Ask:
    """Each way by which a body comes to the handler as it was sent."""
    if request.param == "grpc":
        return lambda body: client.predict(MODEL, body, grpc=True)

    def over_rest(body: dict[str, Any]) -> Any:
        answer = http.post(request.param.format(MODEL), json=body)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "application/json"
        return answer.json()

    return over_rest


@pytest.fixture(scope="module")
def expected(client: Client) -> list[dict[str, Any]]:
    """The rows' answers, each asked alone in the plain dialect."""
    rows = [client.predict(MODEL, {"user_id": user, **OPTIONS}) for user in USERS]
    assert all(len(row["items"]) == 4 for row in rows)
    assert rows[0] != rows[1]
    return rows


def tensor(name: str, datatype: str, shape: list[int], data: list[Any]) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape, "data": data}


TENSORS = [
    tensor("user_id", "BYTES", [3], USERS),
    tensor("k", "INT64", [1], [4]),
    tensor("exclude", "BYTES", [1, 2], ["100", "103"]),
    tensor("exclude_history", "BOOL", [1], [True]),
    tensor("fields", "BYTES", [1, 3], ["title", "year", "genres"]),
    tensor("filter", "BYTES", [1], [json.dumps(OPTIONS["filter"])]),
    tensor("diversity", "BYTES", [1], [json.dumps(OPTIONS["diversity"])]),
]


def close(one: list[float], other: list[float]) -> bool:
    return one == pytest.approx(other, abs=1e-5)


def same(got: dict[str, Any], expected: dict[str, Any]) -> bool:
    """Compare two rows; scores differ in the last digits by the batch's size."""
    return (
        got["items"] == expected["items"]
        and got.get("fields") == expected.get("fields")
        and close(got["scores"], expected["scores"])
    )


def test_plain(ask: Ask, expected: list[dict[str, Any]]) -> None:
    for user, row in zip(USERS, expected, strict=True):
        assert same(ask({"user_id": user, **OPTIONS}), row)
        assert same(ask({"user_id": user, "parameters": OPTIONS}), row)


def test_rows_of_tf_serving(ask: Ask, expected: list[dict[str, Any]]) -> None:
    instances = [{"user_id": user} for user in USERS]
    for rows in (instances, USERS):
        answer = ask({"signature_name": "serving_default", "instances": rows, **OPTIONS})
        assert answer.keys() == {"predictions"}
        assert all(map(same, answer["predictions"], expected))


def test_columns_of_tf_serving(ask: Ask, expected: list[dict[str, Any]]) -> None:
    answer = ask({"signature_name": "serving_default", "inputs": {"user_id": USERS}, **OPTIONS})
    assert answer.keys() == {"outputs"}
    outputs = answer["outputs"]
    assert outputs["items"] == [row["items"] for row in expected]
    assert outputs["fields"] == {
        name: [row["fields"][name] for row in expected] for name in OPTIONS["fields"]
    }
    assert all(close(one, row["scores"]) for one, row in zip(outputs["scores"], expected, strict=True))


@pytest.mark.parametrize("as_inputs", [True, False], ids=["inputs", "parameters"])
def test_open_inference(ask: Ask, expected: list[dict[str, Any]], as_inputs: bool) -> None:
    inputs = {"inputs": TENSORS} if as_inputs else {"inputs": TENSORS[:1], "parameters": OPTIONS}
    answer = ask({"id": "a-1", **inputs})
    assert (answer["id"], answer["model_name"], answer["model_version"]) == ("a-1", MODEL, "1.0")
    outputs = {output["name"]: output for output in answer["outputs"]}
    assert outputs["items"]["data"] == [item for row in expected for item in row["items"]]
    assert close(outputs["scores"]["data"], [score for row in expected for score in row["scores"]])
    assert outputs["counts"] == tensor("counts", "INT64", [3], [4, 4, 4])
    assert outputs["fields.title"]["data"] == [text for row in expected for text in row["fields"]["title"]]
    assert outputs["fields.genres"]["shape"] == [3, 4]


def test_open_inference_over_its_own_grpc(
    channel: grpc.Channel, token: str, expected: list[dict[str, Any]]
) -> None:
    """TorchServe drops parameters and what outputs are asked for, and gives BYTES as JSON text."""
    answer = model_infer(channel, {"id": "a-1", "inputs": TENSORS}, MODEL, token)
    assert (answer["id"], answer["model_name"], answer["model_version"]) == ("a-1", MODEL, "1.0")
    outputs = {output["name"]: output for output in answer["outputs"]}
    texts = {
        name: list(map(json.loads, output["data"]))
        for name, output in outputs.items()
        if output["datatype"] == "BYTES"
    }
    assert texts["items"] == [item for row in expected for item in row["items"]]
    for name in OPTIONS["fields"]:
        assert texts[f"fields.{name}"] == [value for row in expected for value in row["fields"][name]]
    assert close(outputs["scores"]["data"], [score for row in expected for score in row["scores"]])
    assert outputs["counts"]["data"] == [4, 4, 4]


def test_an_answer_without_items_or_id(channel: grpc.Channel, token: str) -> None:
    inputs = [TENSORS[0], tensor("min_score", "FP32", [1], [1e6])]
    answer = model_infer(channel, {"inputs": inputs}, MODEL, token)
    outputs = {output["name"]: output for output in answer["outputs"]}
    assert answer["id"] == ""
    assert (outputs["items"]["shape"], outputs["counts"]["data"]) == ([3, 0], [0, 0, 0])


BAD = [
    [tensor("user_id", "BYTES", [1], [""])],
    [tensor("user_id", "BYTES", [2], ["u1", "u2"]), tensor("k", "INT64", [2], [1, 0])],
    [tensor("plot", "BYTES", [1], ["u1"])],
    [tensor("user_id", "BYTES", [0], [])],
    [],
]


@pytest.mark.parametrize("inputs", BAD, ids=["missing", "k", "unknown", "no rows", "nothing"])
def test_an_error_costs_neither_a_worker_nor_its_message(
    channel: grpc.Channel, token: str, http: httpx.Client, client: Client, inputs: list[dict[str, Any]]
) -> None:
    body = {"id": "x", "inputs": inputs}
    over_rest = http.post(ROUTES[2].format(MODEL), json=body)
    error = over_rest.json()
    assert over_rest.status_code == error["code"] == 400
    assert error["error"] == error["message"]
    with pytest.raises(AnswerError) as caught:
        client.predict(MODEL, body, grpc=True)
    assert str(caught.value) == error["message"]
    # A worker would die of an answer that is no message of Open Inference.
    (output,) = model_infer(channel, body, MODEL, token)["outputs"]
    assert (output["name"], json.loads(output["data"][0])) == ("error", error)
    good = model_infer(channel, {"inputs": TENSORS}, MODEL, token)
    assert [named["name"] for named in good["outputs"]][:3] == ["items", "scores", "counts"]


def test_the_command_has_the_options(
    server: Server, expected: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["-k", "4", "--exclude", "100", "103", "--exclude-history", "--fields", "title", "year", "genres"]
    for option in ("filter", "diversity"):
        flags += [f"--{option}", json.dumps(OPTIONS[option])]
    asked = ["recommend", MODEL, json.dumps({"user_id": USERS[0]}), "--state", str(server.state), "--json"]
    assert main([*asked, *flags, "--min-score", "-99"]) == 0
    assert same(json.loads(capsys.readouterr().out), expected[0])
    assert main([*asked, "--include", "105", "106"]) == 0
    assert set(json.loads(capsys.readouterr().out)["items"]) == {"105", "106"}
