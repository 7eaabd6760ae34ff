"""HTTP connections to a server's inference API, kept between requests: a tenth of the time of httpx's.

Proxies of the environment are not used: a client stands beside its server, or names the proxy as its address.
"""

import asyncio
import ssl
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any
from urllib.parse import urlsplit

import httptools

from torchtowers.handlers.errors import shorten
from torchtowers.serving.errors import ServerNotRunningError, ServingError

__all__ = ["AsyncRestChannel", "RestChannel"]


@dataclass(frozen=True)
class _Address:
    url: str
    host: str
    port: int
    path: str
    tls: bool

    @classmethod
    def of(cls, url: str) -> "_Address":
        try:
            parts = urlsplit(url)
            port = parts.port or {"http": 80, "https": 443}[parts.scheme]
        except (ValueError, KeyError):
            parts, port = urlsplit(""), 0
        if not parts.hostname:
            raise ServingError(f"address: expected http://HOST:PORT, got {shorten(url)}")
        return cls(url, parts.hostname, port, parts.path.rstrip("/"), parts.scheme == "https")

    def silent(self, error: Exception) -> ServerNotRunningError:
        return ServerNotRunningError(f"no server answers at {self.url} ({error or type(error).__name__})")


class RestChannel:
    """As many connections as there are threads that ask at once.

    Args:
        url: Address of the API, such as `http://127.0.0.1:8080`.

    Raises:
        ServingError: It is no such address.
    """

    def __init__(self, url: str) -> None:
        self._address = _Address.of(url)
        # The one used last goes first: the others may have been closed by the server meanwhile.
        self._idle: deque[HTTPConnection] = deque()

    def post(
        self, path: str, content: bytes, headers: Mapping[str, str], timeout: float
    ) -> tuple[int, bytes]:
        """Send one request, and give the status and the content of its answer.

        Raises:
            TimeoutError: The answer isn't there in time.
            ServerNotRunningError: Nobody answers at the address.
        """
        try:
            connection = self._idle.pop()
        except IndexError:
            return self._send(self._connection(timeout), path, content, headers)
        if connection.sock is not None:
            connection.sock.settimeout(timeout)
        try:
            return self._send(connection, path, content, headers)
        except ServerNotRunningError:
            # It was closed while nobody used it; what a new one says counts.
            return self._send(self._connection(timeout), path, content, headers)

    def close(self) -> None:
        """Close the connections that wait."""
        while self._idle:
            self._idle.pop().close()

    def _connection(self, timeout: float) -> HTTPConnection:
        kind = HTTPSConnection if self._address.tls else HTTPConnection
        return kind(self._address.host, self._address.port, timeout=timeout)

    def _send(
        self, connection: HTTPConnection, path: str, content: bytes, headers: Mapping[str, str]
    ) -> tuple[int, bytes]:
        try:
            connection.request("POST", self._address.path + path, content, dict(headers))
            answer = connection.getresponse()
            read = answer.status, answer.read()
        except TimeoutError:
            connection.close()
            raise
        except (OSError, HTTPException) as error:
            connection.close()
            raise self._address.silent(error) from None
        except BaseException:
            connection.close()
            raise
        if connection.sock is None:
            return read
        self._idle.append(connection)
        return read


class AsyncRestChannel:
    """As many connections as there are coroutines that ask at once, all of one event loop.

    Args:
        url: Address of the API, such as `http://127.0.0.1:8080`.

    Raises:
        ServingError: It is no such address.
    """

    def __init__(self, url: str) -> None:
        self._address = _Address.of(url)
        self._tls = ssl.create_default_context() if self._address.tls else None
        self._idle: list[_Connection] = []

    async def post(
        self, path: str, content: bytes, headers: Mapping[str, str], timeout: float
    ) -> tuple[int, bytes]:
        """Send one request, and give the status and the content of its answer.

        Raises:
            TimeoutError: The answer isn't there in time.
            ServerNotRunningError: Nobody answers at the address.
        """
        address = self._address
        lines = [
            f"POST {address.path}{path} HTTP/1.1",
            f"Host: {address.host}:{address.port}",
            f"Content-Length: {len(content)}",
            *(f"{name}: {value}" for name, value in headers.items()),
        ]
        request = "\r\n".join([*lines, "", ""]).encode("latin-1") + content
        async with asyncio.timeout(timeout):
            while self._idle:
                connection = self._idle.pop()
                if connection.is_open:
                    try:
                        return await self._send(connection, request)
                    except ServerNotRunningError:
                        break
            try:
                _, connection = await asyncio.get_running_loop().create_connection(
                    _Connection, address.host, address.port, ssl=self._tls
                )
            except TimeoutError:
                raise
            except OSError as error:
                raise address.silent(error) from None
            return await self._send(connection, request)

    async def close(self) -> None:
        """Close the connections that wait."""
        closed = self._idle
        self._idle = []
        for connection in closed:
            connection.close()
        for connection in closed:
            await connection.ended.wait()

    async def _send(self, connection: "_Connection", request: bytes) -> tuple[int, bytes]:
        try:
            answer = await connection.ask(request)
        except (OSError, httptools.HttpParserError) as error:
            connection.close()
            raise self._address.silent(error) from None
        except BaseException:
            connection.close()
            raise
        if connection.is_open:
            self._idle.append(connection)
        return answer


class _Connection(asyncio.Protocol):
    """One connection; httptools calls the methods that begin with `on_`."""

    def __init__(self) -> None:
        self.is_open = True
        self.ended = asyncio.Event()
        self._parser: Any = httptools.HttpResponseParser(self)
        self._parts: list[bytes] = []
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self._transport: asyncio.Transport | None = None

    def ask(self, request: bytes) -> "asyncio.Future[tuple[int, bytes]]":
        assert self._transport is not None
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return self._answer

    def close(self) -> None:
        self.is_open = False
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        self.is_open = False
        self.ended.set()
        self._fail(error or ConnectionResetError("the connection was closed before the answer"))

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self.is_open = False
            self._fail(error)

    def on_body(self, part: bytes) -> None:
        self._parts.append(part)

    def on_message_complete(self) -> None:
        content = b"".join(self._parts)
        self._parts.clear()
        self.is_open = self.is_open and self._parser.should_keep_alive()
        if self._answer is not None and not self._answer.done():
            self._answer.set_result((self._parser.get_status_code(), content))

    def _fail(self, error: Exception) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)
