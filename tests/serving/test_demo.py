import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.serving.demo_pages import serving
from torchtowers.serving.demo import demo
from torchtowers.serving.demo_backend import Backend
from torchtowers.serving.errors import ServerNotRunningError, ServingError

FOLDER = Path(__file__).parents[2] / "serving"
QUESTION: dict[str, Any] = {
    "model": "films",
    "version": None,
    "dialect": "plain",
    "user": "u1",
    "features": {},
    "options": {},
}


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with serving(Backend(tmp_path_factory.mktemp("state"))) as client:
        yield client


def test_the_page_asks_for_its_own_files_only(page: httpx.Client) -> None:
    asked, found = ["/"], set()
    while asked:
        path = asked.pop()
        answer = page.get(path)
        assert answer.status_code == 200, path
        found.add(path)
        links = re.findall(r"""(?:href|src|from )=?\s*"([^"#]+)\"""", answer.text)
        asked += [link for link in links if link not in found]
    assert found == {"/", *(f"/{path.name}" for path in FOLDER.glob("demo_*.*") if path.suffix != ".py")} - {
        "/demo_page.html"
    }


def test_nothing_is_taken_for_html() -> None:
    for path in FOLDER.glob("demo_*.js"):
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", path.read_text()
        )


@pytest.mark.parametrize("path", ["/api/models", "/api/model", "/api/users", "/api/user"])
def test_without_a_server_it_says_how_to_start_one(page: httpx.Client, path: str) -> None:
    answer = page.get(path, params={"model": "films"})
    assert answer.status_code == 503
    assert "start one with `torchtowers serve start`" in answer.json()["error"]["message"]
    assert page.post("/api/ask", json=QUESTION).status_code == 503


@pytest.mark.parametrize(
    ("content", "status", "message"),
    [
        (b"{", 400, "expected JSON, got"),
        (b"[" * 100_000, 400, "expected JSON, got"),
        (b"[1]", 400, "expected a JSON object, got"),
        (b'"' + b"a" * (1 << 20) + b'"', 413, "the request is larger than 1048576 bytes"),
    ],
    ids=["cut", "deep", "list", "large"],
)
def test_what_is_no_question_is_refused(
    page: httpx.Client, content: bytes, status: int, message: str
) -> None:
    answer = page.post("/api/ask", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == status
    assert answer.json()["error"]["message"].startswith(message)


def test_it_needs_a_server(tmp_path: Path) -> None:
    with pytest.raises(ServerNotRunningError, match="no server runs in"):
        demo(state=tmp_path, port=0)


@pytest.mark.parametrize("port", [-1, 65536])
def test_a_port_that_is_none(port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Backend, "models", lambda _: {})
    with pytest.raises(ServingError, match=rf"^127\.0\.0\.1:{port}: can't listen there .*--port"):
        demo(state=tmp_path, port=port)


def test_a_port_that_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Backend, "models", lambda _: {})
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ServingError, match=rf"^127\.0\.0\.1:{port}: can't listen there .*in use.*--port"):
            demo(state=tmp_path, port=port)


@pytest.mark.parametrize("missing", ["starlette", "uvicorn"])
def test_without_the_extra_it_says_what_to_install(missing: str) -> None:
    code = f"import sys; sys.modules[{missing!r}] = None; import torchtowers.serving.demo"
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    *_, last = told.stderr.strip().splitlines()
    assert last.endswith("is not installed: pip install 'torchtowers[demo]'")
    assert "ServingError: " in last
