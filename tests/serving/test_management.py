"""The management API of a server that fails as TorchServe does now and then."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from torchtowers.serving import management
from torchtowers.serving.errors import AnswerError, ServerNotRunningError
from torchtowers.serving.management import Management

RACE = (500, {"code": 500, "type": "ConcurrentModificationException", "message": "null"})
GONE = (404, {"code": 404, "type": "ModelVersionNotFoundException", "message": "no such version"})
DONE = (200, {"status": "done"})


class Api(ThreadingHTTPServer):
    """Answers what it is told to, and keeps what it was asked."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, Any]] = []
        self.asked: list[str] = []
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Api

    def _answer(self) -> None:
        self.server.asked.append(f"{self.command} {self.path}")
        status, body = self.server.answers.pop(0)
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_PUT = do_POST = do_DELETE = _answer

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    monkeypatch.setattr(management, "_PAUSE", 0.0)
    with Api() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def client(api: Api) -> Iterator[Management]:
    with Management(f"http://127.0.0.1:{api.server_port}", None) as connected:
        yield connected


def test_a_race_is_tried_again(api: Api, client: Management) -> None:
    api.answers = [RACE, RACE, DONE]
    client.set_default("m", "1 0")
    assert api.asked == ["PUT /models/m/1%200/set-default"] * 3


def test_a_race_that_goes_on_is_told(api: Api, client: Management) -> None:
    api.answers = [RACE] * 9
    with pytest.raises(AnswerError, match="status 500: null") as caught:
        client.unregister("m", "1.0", timeout=5)
    assert (caught.value.code, caught.value.type) == (500, "ConcurrentModificationException")
    assert len(api.asked) == 5


def test_what_a_failed_try_has_removed_is_gone(api: Api, client: Management) -> None:
    api.answers = [RACE, GONE]
    client.unregister("m", "1.0", timeout=5)
    assert api.asked == ["DELETE /models/m/1.0"] * 2


def test_registering_is_not_tried_again(api: Api, client: Management) -> None:
    api.answers = [RACE]
    with pytest.raises(AnswerError, match="status 500"):
        client.register("m-2.0.mar", workers=2, timeout=5)
    assert api.asked == ["POST /models?url=m-2.0.mar&initial_workers=2&synchronous=false"]


def test_a_model_that_is_not_there_has_no_versions(api: Api, client: Management) -> None:
    api.answers = [GONE]
    assert client.versions("m") == ()


def test_nobody_answers(api: Api) -> None:
    with (
        Management("http://127.0.0.1:1", None) as nobody,
        pytest.raises(ServerNotRunningError, match=r"no server answers at http://127\.0\.0\.1:1"),
    ):
        nobody.models()


def test_a_model_tells_what_it_takes(api: Api, client: Management) -> None:
    api.answers = [RACE, (200, [{"modelName": "m", "customizedMetadata": {"request": {}}}])]
    assert client.describe("m", "1 0") == {"request": {}}
    assert api.asked == ["GET /models/m/1%200?customized=true"] * 2
    api.answers = [(200, [{"modelName": "m"}])]
    with pytest.raises(AnswerError, match="m: its handler does not tell what it takes"):
        client.describe("m")
    assert api.asked[-1] == "GET /models/m?customized=true"
