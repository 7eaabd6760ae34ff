"""Both channels against a server that counts its connections and misbehaves on request."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from torchtowers.serving.errors import ServerNotRunningError, ServingError
from torchtowers.serving.rest_channel import AsyncRestChannel, RestChannel

Ask = Callable[..., list[tuple[int, bytes]]]


class Served(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    opened = 0

    def setup(self) -> None:
        super().setup()
        type(self).opened += 1

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/base/slow":
            time.sleep(0.5)
        if self.path == "/base/garbage":
            self.wfile.write(b"no HTTP at all\r\n\r\n")
            self.close_connection = True
            return
        if self.path == "/base/gone":
            self.close_connection = True
            return
        self.send_response(418 if self.path == "/base/teapot" else 200)
        if self.path == "/base/chunked":
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
            return
        if self.path == "/base/last":
            self.send_header("Connection", "close")
            self.close_connection = True
        answer = self.headers["X-Key"].encode() + b" " + content
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)
        # Closed without a word, as a server does with connections that nobody uses.
        self.close_connection |= self.path == "/base/quits"

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def url() -> Iterator[str]:
    Served.opened = 0
    with ThreadingHTTPServer(("127.0.0.1", 0), Served) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/base"
        server.shutdown()
        thread.join()


def ask(url: str, *paths: str, timeout: float = 5.0) -> list[tuple[int, bytes]]:
    channel = RestChannel(url)
    try:
        return [channel.post(path, b"body", {"X-Key": "k"}, timeout) for path in paths]
    finally:
        channel.close()


def ask_async(url: str, *paths: str, timeout: float = 5.0) -> list[tuple[int, bytes]]:
    async def asked() -> list[tuple[int, bytes]]:
        channel = AsyncRestChannel(url)
        try:
            return [await channel.post(path, b"body", {"X-Key": "k"}, timeout) for path in paths]
        finally:
            await channel.close()

    return asyncio.run(asked())


both = pytest.mark.parametrize("ask", [ask, ask_async], ids=["sync", "async"])


@both
def test_a_connection_is_kept(url: str, ask: Ask) -> None:
    assert ask(url, "/a", "/teapot", "/chunked", "/a") == [
        (200, b"k body"),
        (418, b"k body"),
        (200, b"abcde"),
        (200, b"k body"),
    ]
    assert Served.opened == 1


@both
@pytest.mark.parametrize("path", ["/last", "/quits"])
def test_one_that_the_server_has_closed_is_replaced(url: str, ask: Ask, path: str) -> None:
    assert ask(url, path, path, "/a") == [(200, b"k body")] * 3
    assert Served.opened == 3


@both
def test_no_answer_in_time(url: str, ask: Ask) -> None:
    with pytest.raises(TimeoutError):
        ask(url, "/slow", timeout=0.1)


@both
@pytest.mark.parametrize("path", ["/garbage", "/gone"])
def test_what_is_no_answer(url: str, ask: Ask, path: str) -> None:
    with pytest.raises(ServerNotRunningError, match=r"no server answers at http://127\.0\.0\.1:\d+/base \("):
        ask(url, path)


@both
@pytest.mark.parametrize("bad", ["127.0.0.1:80", "ftp://host", "http://", "http://host:port"])
def test_what_is_no_address(ask: Ask, bad: str) -> None:
    with pytest.raises(ServingError, match="address: expected http://HOST:PORT"):
        ask(bad, "/a")


def test_many_at_once_have_connections_of_their_own(url: str) -> None:
    async def asked() -> None:
        channel = AsyncRestChannel(url)
        await asyncio.gather(*(channel.post("/slow", b"", {"X-Key": "k"}, 5) for _ in range(8)))
        assert Served.opened == 8
        await asyncio.gather(*(channel.post("/a", b"", {"X-Key": "k"}, 5) for _ in range(8)))
        assert Served.opened == 8
        await channel.close()

    asyncio.run(asked())
