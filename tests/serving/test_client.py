import json
from typing import Any

import httpx
import pytest

from torchtowers.handlers.errors import BodyError
from torchtowers.serving import Client, Server
from torchtowers.serving.conversation import parse_answer
from torchtowers.serving.errors import AnswerError, ServerNotRunningError, ServingError
from torchtowers.serving.tokens import Tokens

both = pytest.mark.parametrize("grpc", [False, True], ids=["rest", "grpc"])


@pytest.mark.java
@both
def test_answers(client: Client, grpc: bool) -> None:
    answer = client.predict("echo", {"user_id": "196"}, grpc=grpc)
    assert answer == {"items": ["196", "é", "1.0"], "scores": [1.0, 0.5, 0.25]}


@pytest.mark.java
@both
def test_asks_for_a_version(client: Client, grpc: bool) -> None:
    assert client.predict("echo", {"user_id": "196"}, version="2.0", grpc=grpc)["items"][-1] == "2.0"


@pytest.mark.java
@pytest.mark.parametrize("path", ["/v1/models/echo:predict", "/v2/models/echo/infer"])
def test_asks_at_another_path(client: Client, path: str) -> None:
    assert client.predict("echo", {"user_id": "196"}, path=path)["items"][0] == "196"
    with pytest.raises(AnswerError, match=r"Model not found: nope"):
        client.predict("echo", {}, path=path.replace("echo", "nope"))


@pytest.mark.java
@both
@pytest.mark.parametrize(
    ("name", "version", "body", "code", "type", "message"),
    [
        ("echo", None, {"k": 3}, 400, "bad_field", "user_id: expected a string, got nothing"),
        ("echo", None, {"raise": "x"}, 503, "InternalServerException", "Prediction failed"),
        ("nope", None, {}, 404, "ModelNotFoundException", "Model not found: nope"),
        (
            "echo",
            "9",
            {},
            404,
            "ModelVersionNotFoundException",
            "Model version: 9 does not exist for model: echo",
        ),
    ],
    ids=["request", "batch", "model", "version"],
)
def test_an_error_is_the_same_over_both(
    client: Client,
    grpc: bool,
    name: str,
    version: str | None,
    body: dict[str, object],
    code: int,
    type: str,
    message: str,
) -> None:
    with pytest.raises(AnswerError) as caught:
        client.predict(name, body, version=version, grpc=grpc)
    assert (caught.value.code, caught.value.type, str(caught.value)) == (code, type, message)


@pytest.mark.java
@both
def test_an_answer_that_takes_too_long(client: Client, grpc: bool) -> None:
    with pytest.raises(AnswerError, match=r"^echo: no answer within 0\.2 s$") as caught:
        client.predict("echo", {"user_id": "1", "sleep": 0.5}, grpc=grpc, timeout=0.2)
    assert (caught.value.code, caught.value.type) == (504, "timeout")


@pytest.mark.java
def test_a_request_without_token_is_refused(server: Server) -> None:
    record = server.record
    answer = httpx.post(f"{record.inference}/predictions/echo", json={"user_id": "196"}, trust_env=False)
    assert (answer.status_code, answer.json()["type"]) == (400, "InvalidKeyException")
    assert httpx.get(f"{record.management}/models", trust_env=False).status_code == 400


@pytest.mark.java
@both
def test_a_wrong_token_is_refused(server: Server, grpc: bool) -> None:
    with (
        Client(server.record.inference, server.record.grpc, "wrong") as client,
        pytest.raises(AnswerError, match="Token") as caught,
    ):
        client.predict("echo", {"user_id": "196"}, grpc=grpc)
    assert (caught.value.code, caught.value.type) == (400, "InvalidKeyException")


@pytest.mark.java
@both
def test_a_refused_token_is_renewed_once(server: Server, grpc: bool) -> None:
    tokens = Tokens(server.state, server.record.management)
    refused = []

    def renew(token: str) -> str:
        refused.append(token)
        return tokens.current("inference")

    with Client(server.record.inference, server.record.grpc, "expired", renew=renew) as client:
        for _ in range(2):
            assert client.predict("echo", {"user_id": "196"}, grpc=grpc)["items"][0] == "196"
    assert refused == ["expired"]


@both
def test_nobody_listens(grpc: bool) -> None:
    # Port 1 is nobody's.
    with (
        Client("http://127.0.0.1:1", "127.0.0.1:1") as client,
        pytest.raises(ServerNotRunningError, match=r"127\.0\.0\.1:1.*torchtowers serve start"),
    ):
        client.predict("echo", {}, grpc=grpc)


def test_a_client_without_grpc_says_what_to_give() -> None:
    with Client("http://127.0.0.1:1") as client, pytest.raises(ServingError, match="grpc="):
        client.predict("echo", {}, grpc=True)


def _nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (float("nan"), "Out of range float values are not JSON compliant"),
        ({1, 2}, "Object of type set is not JSON serializable"),
        ({(1, 2): 3}, "keys must be str, int, float, bool or None, not tuple"),
        (_nested(20_000), "it is nested too deeply"),
    ],
    ids=["nan", "set", "key", "deep"],
)
def test_what_json_does_not_know_is_not_sent(value: Any, reason: str) -> None:
    with Client("http://127.0.0.1:1") as client, pytest.raises(BodyError) as caught:
        client.predict("echo", {"age": value})
    assert str(caught.value).startswith(f"the request can't be sent as JSON ({reason}")
    assert str(caught.value).isprintable()


def test_a_server_that_failed_is_no_mistake_of_the_callers() -> None:
    codes = {code: AnswerError("", code=code, type="").exit_code for code in (400, 404, 499, 500, 503, 504)}
    assert codes == {400: 2, 404: 2, 499: 2, 500: 1, 503: 1, 504: 1}


@pytest.mark.parametrize(
    ("content", "status", "error", "message"),
    [
        (
            b"[" * 100_000,
            200,
            ServingError,
            f"echo: expected JSON for an answer, got b'{'[' * 36}...{'[' * 38}'",
        ),
        (b"<html>", 502, AnswerError, "echo: status 502: <html>"),
        (b"\x80\x02", 200, ServingError, "echo: expected JSON for an answer, got b'\\x80\\x02'"),
        (b'{"detail": 1}', 418, AnswerError, 'echo: status 418: {"detail": 1}'),
    ],
)
def test_answers_of_another_kind(content: bytes, status: int, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        parse_answer("echo", content, status)
    assert str(caught.value) == message


def test_an_answer_may_have_a_message_of_its_own() -> None:
    for answer in ({"message": "hello", "code": 1}, {"message": "a", "type": "b", "code": "c"}, [1]):
        assert parse_answer("echo", json.dumps(answer).encode(), 200) == answer
