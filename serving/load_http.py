"""Connections that send a request over REST as soon as the one before is answered."""

import asyncio
import contextlib
import socket
from collections.abc import Sequence
from time import perf_counter
from typing import Any
from urllib.parse import urlsplit

import httptools

from torchtowers.serving.load_record import Recorder

__all__ = ["HttpLoad"]

# Seconds before a client that failed connects anew, and between looks at what waits too long.
_PAUSE = 0.05
_WATCH = 0.25


class HttpLoad:
    """Sends a recorder's requests over REST.

    Args:
        address: Of the server, such as `http://127.0.0.1:8080`.
        path: What is posted to.
        recorder: Gives requests and takes answers.
        token: The inference token, or None.
        timeout: Seconds that an answer may take.
    """

    protocol = "REST"

    def __init__(
        self,
        address: str,
        path: str,
        recorder: Recorder,
        token: str | None,
        timeout: float,
    ) -> None:
        parts = urlsplit(address)
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or 80
        head = (
            f"POST {path} HTTP/1.1\r\nHost: {self._host}:{self._port}\r\nContent-Type: application/json\r\n"
        )
        if token:
            head += f"Authorization: Bearer {token}\r\n"
        # Written ahead, so that the measuring takes little of the machine from what it measures.
        self._requests = [
            f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body for body in recorder.requests
        ]
        self._recorder = recorder
        self._timeout = timeout

    async def client(self) -> None:
        """Be one client until the recorder gives no more requests; connects anew after a failure."""
        loop = asyncio.get_running_loop()
        while self._recorder.is_due:
            try:
                transport, connection = await loop.create_connection(self._connection, self._host, self._port)
            except OSError as error:
                self._recorder.failed(f"no connection ({error.strerror or type(error).__name__})")
                await asyncio.sleep(_PAUSE)
                continue
            try:
                await self._until_ended(connection)
            finally:
                transport.abort()
            if connection.failure is not None:
                self._recorder.failed(connection.failure)
                await asyncio.sleep(_PAUSE)

    def _connection(self) -> "_Connection":
        return _Connection(self._requests, self._recorder)

    async def close(self) -> None:
        """Nothing is left open: each client closes its own connection."""

    async def _until_ended(self, connection: "_Connection") -> None:
        while not connection.ended.is_set():
            # Looked at from time to time: a timer for each request would cost as much as the request.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(connection.ended.wait(), _WATCH)
            if connection.waits and perf_counter() - connection.sent > self._timeout:
                connection.failure = f"no answer within {self._timeout:g} s"
                return


class _Connection(asyncio.Protocol):
    """One connection; httptools calls the methods that begin with `on_`."""

    def __init__(self, requests: Sequence[bytes], recorder: Recorder) -> None:
        self.ended = asyncio.Event()
        self.failure: str | None = None
        self.sent = 0.0
        self.waits = False
        self._requests = requests
        self._recorder = recorder
        self._place = 0
        self._parts: list[bytes] = []
        self._parser: Any = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._send()

    def connection_lost(self, error: Exception | None) -> None:
        if self.waits and self.failure is None:
            self.failure = "the connection was closed before the answer"
        self.ended.set()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self.failure = f"an answer that is no HTTP ({error})"
            self.ended.set()

    def on_body(self, part: bytes) -> None:
        self._parts.append(part)

    def on_message_complete(self) -> None:
        content = b"".join(self._parts)
        self._parts.clear()
        self.waits = False
        self._recorder.answered(self._place, self.sent, self._parser.get_status_code(), content)
        if self._parser.should_keep_alive():
            self._send()
        else:
            self.ended.set()

    def _send(self) -> None:
        place = self._recorder.next()
        if place is None or self._transport is None:
            self.ended.set()
            return
        self._place = place
        self.waits = True
        self.sent = perf_counter()
        self._transport.write(self._requests[place])
