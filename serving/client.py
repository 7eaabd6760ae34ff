"""Asks a TorchServe over REST or gRPC, with the same answers and errors from both."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

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
from torchtowers.serving.grpc_channel import GrpcChannel
from torchtowers.serving.process import find
from torchtowers.serving.rest_channel import RestChannel
from torchtowers.serving.state import StateFolder
from torchtowers.serving.tokens import Tokens

__all__ = ["NO_GRPC", "Client", "served_by"]

NO_GRPC = "this client has no gRPC address: give one as Client(rest, grpc='127.0.0.1:7070')"


class Client:
    """A connection to a TorchServe, kept open between requests; close it, or use it in a `with` block.

    Threads may share one.

    Args:
        rest: Address of the inference API, such as `http://127.0.0.1:8080`.
        grpc: Host and port of gRPC inference, such as `127.0.0.1:7070`; needed for `predict(grpc=True)` only.
        token: The inference token; None where the server wants none.
        renew: Gives a new token in place of one that the server refused; it may have expired.
        retry: What is tried again; `Retry(times=0)` for nothing.

    Example:
        with Client.from_state() as client:
            client.predict("movies", {"user_id": "196", "k": 10})
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
        self._rest = RestChannel(rest)
        self._grpc = GrpcChannel(grpc) if grpc else None

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

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._rest.close()
        if self._grpc:
            self._grpc.close()

    def predict(
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
                        answer = self._ask(name, version, path, content, step, grpc)
                    except (AnswerError, ServerNotRunningError) as error:
                        step = steps.throw(error)
                    else:
                        step = steps.send(answer)
                elif isinstance(step, Renew):
                    assert self._renew is not None
                    self._token = self._renew(step.refused)
                    step = steps.send(self._token)
                else:
                    time.sleep(step.seconds)
                    step = next(steps)
        except StopIteration as done:
            return done.value

    def predict_rows(
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
        answer = self.predict(name, body, version=version, grpc=grpc, timeout=timeout)
        return rows_of(name, rows, answer)

    def _ask(self, name: str, version: str | None, path: str, content: bytes, step: Ask, grpc: bool) -> Any:
        if grpc and self._grpc is not None:
            # An error of a single request of a batch comes with the status OK.
            return parse_answer(
                name, self._grpc.predictions(name, version, content, step.token, step.seconds), 200
            )
        try:
            status, answered = self._rest.post(path, content, rest_headers(step.token), step.seconds)
        except TimeoutError:
            raise timed_out(name, step.seconds) from None
        return parse_answer(name, answered, status)


def served_by(state: str | Path | None) -> tuple[str, str, str | None, Callable[[str], str] | None]:
    """Give the REST and gRPC address of the server of a state folder, its token, and what renews it.

    Raises:
        ServerNotRunningError: None runs.
        ServingError: The state folder can't be read.
    """
    folder = StateFolder(state)
    record = folder.read()
    if record is None or find(record.pid, record.create_time) is None:
        raise ServerNotRunningError(f"no server runs in {folder.path}")
    if not record.token_authorization:
        return record.inference, record.grpc, None, None
    tokens = Tokens(folder.path, record.management)

    def renew(refused: str) -> str:
        return tokens.renew("inference", refused)

    return record.inference, record.grpc, tokens.current("inference"), renew
