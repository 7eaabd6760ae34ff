"""Asks a TorchServe from coroutines, with the same answers and errors as `Client`."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from torchtowers.serving.client import NO_GRPC, served_by
from torchtowers.serving.conversation import (
    Ask,
    Renew,
    Retry,
    converse,
    encode,
    parse_answer,
    rest_headers,
    rest_path,
    rows_of,
    timed_out,
)
from torchtowers.serving.errors import AnswerError, ServerNotRunningError, ServingError
from torchtowers.serving.grpc_channel import AsyncGrpcChannel
from torchtowers.serving.rest_channel import AsyncRestChannel

__all__ = ["AsyncClient"]


class AsyncClient:
    """What `Client` is, for coroutines of one event loop; close it, or use it in an `async with` block.

    Args:
        rest: Address of the inference API, such as `http://127.0.0.1:8080`.
        grpc: Host and port of gRPC inference, such as `127.0.0.1:7070`; needed for `predict(grpc=True)` only.
        token: The inference token; None where the server wants none.
        renew: Gives a new token in place of one that the server refused; called in a thread.
        retry: What is tried again; `Retry(times=0)` for nothing.

    Example:
        async with AsyncClient.from_state() as client:
            await client.predict("movies", {"user_id": "196", "k": 10})
    """

    def __init__(
        self,
        rest: str,
        grpc: str | None = None,
        token: str | None = None,
        *,
        renew: Callable[[str], str] | None = None,
        retry: Retry | None = None,
    ) -> None:
        self._token = token
        self._renew = renew
        self._retry = retry or Retry()
        self._rest = AsyncRestChannel(rest)
        self._grpc = AsyncGrpcChannel(grpc) if grpc else None

    @classmethod
    def from_state(cls, state: str | Path | None = None, *, retry: Retry | None = None) -> Self:
        """Connect to the server that `torchtowers serve start` started: finds its addresses and its token.

        Args:
            state: The state folder, as for `start`.
            retry: What is tried again.

        Raises:
            ServerNotRunningError: None runs.
            ServingError: The state folder can't be read.
        """
        rest, grpc, token, renew = served_by(state)
        return cls(rest, grpc, token, renew=renew, retry=retry)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._rest.close()
        if self._grpc:
            await self._grpc.close()

    async def predict(
        self,
        name: str,
        body: Mapping[str, Any],
        *,
        version: str | None = None,
        grpc: bool = False,
        timeout: float = 30.0,
        path: str | None = None,
    ) -> Any:
        """Send one request, and give the answer's JSON.

        Args:
            name: The model.
            body: The request, such as `{"user_id": "196", "k": 10}`.
            version: The model's version; by default the server's default one.
            grpc: Ask over gRPC rather than REST.
            timeout: Seconds until the answer has to be there, however often the request is sent.
            path: What is asked over REST, such as `/v1/models/movies:predict`; by default
                `/predictions/NAME`, with the version.

        Raises:
            BodyError: The request can't be written as JSON; nothing was sent.
            AnswerError: The server answered with an error, or not in time; a subclass tells which kind.
            ServerNotRunningError: Nobody answers at the address.
        """
        content = encode(body)
        path = path or rest_path(name, version)
        if grpc and self._grpc is None:
            raise ServingError(NO_GRPC)
        steps = converse(
            name, self._token, renewable=self._renew is not None, timeout=timeout, retry=self._retry
        )
        try:
            step = next(steps)
            while True:
                if isinstance(step, Ask):
                    try:
                        answer = await self._ask(name, version, path, content, step, grpc)
                    except (AnswerError, ServerNotRunningError) as error:
                        step = steps.throw(error)
                    else:
                        step = steps.send(answer)
                elif isinstance(step, Renew):
                    assert self._renew is not None
                    self._token = await asyncio.to_thread(self._renew, step.refused)
                    step = steps.send(self._token)
                else:
                    await asyncio.sleep(step.seconds)
                    step = next(steps)
        except StopIteration as done:
            return done.value

    async def predict_rows(
        self,
        name: str,
        rows: Sequence[Mapping[str, Any]],
        *,
        version: str | None = None,
        grpc: bool = False,
        timeout: float = 30.0,
        **options: Any,
    ) -> list[Any]:
        """Send many rows in one request, and give the answer of each, in their order.

        One row that can't be answered fails them all: the error names it.

        Args:
            name: The model.
            rows: The rows, such as `[{"user_id": "196"}, {"user_id": "22", "k": 3}]`.
            version: The model's version; by default the server's default one.
            grpc: Ask over gRPC rather than REST.
            timeout: Seconds, as for `predict`.
            options: What holds for every row that doesn't say otherwise, such as `k=10`.

        Raises:
            TowersError: As `predict` does.
        """
        body = {"instances": list(rows), **options}
        answer = await self.predict(name, body, version=version, grpc=grpc, timeout=timeout)
        return rows_of(name, rows, answer)

    async def _ask(
        self, name: str, version: str | None, path: str, content: bytes, step: Ask, grpc: bool
    ) -> Any:
        if grpc and self._grpc is not None:
            answered = await self._grpc.predictions(name, version, content, step.token, step.seconds)
            # An error of a single request of a batch comes with the status OK.
            return parse_answer(name, answered, 200)
        try:
            status, answered = await self._rest.post(path, content, rest_headers(step.token), step.seconds)
        except TimeoutError:
            raise timed_out(name, step.seconds) from None
        return parse_answer(name, answered, status)
