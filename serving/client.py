"""Asks a TorchServe over REST or gRPC, with the same answers and errors from both."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx

from torchtowers.handlers.errors import BodyError, shorten
from torchtowers.serving.errors import AnswerError, ServerNotRunningError, ServingError
from torchtowers.serving.grpc_channel import GrpcChannel
from torchtowers.serving.process import find
from torchtowers.serving.state import StateFolder
from torchtowers.serving.tokens import Tokens

__all__ = ["Client"]


class Client:
    """A connection to a TorchServe, kept open between requests; close it, or use it in a `with` block.

    Threads may share one.

    Args:
        rest: Address of the inference API, such as `http://127.0.0.1:8080`.
        grpc: Host and port of gRPC inference, such as `127.0.0.1:7070`; needed for `predict(grpc=True)` only.
        token: The inference token; None where the server wants none.
        renew: Gives a new token in place of one that the server refused; it may have expired.

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
    ) -> None:
        self._token = token
        self._renew = renew
        self._http = httpx.Client(base_url=rest, trust_env=not _on_loopback(rest))
        self._grpc = GrpcChannel(grpc) if grpc else None

    @classmethod
    def from_state(cls, state: str | Path | None = None) -> Self:
        """Connect to the server that `torchtowers serve start` started: finds its addresses and its token.

        Args:
            state: The state folder, as for `start`.

        Raises:
            ServerNotRunningError: None runs.
            ServingError: The state folder can't be read.
        """
        folder = StateFolder(state)
        record = folder.read()
        if record is None or find(record.pid, record.create_time) is None:
            raise ServerNotRunningError(f"no server runs in {folder.path}")
        if not record.token_authorization:
            return cls(record.inference, record.grpc)
        tokens = Tokens(folder.path, record.management)
        return cls(
            record.inference,
            record.grpc,
            tokens.current("inference"),
            renew=lambda refused: tokens.renew("inference", refused),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()
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
    ) -> Any:
        """Send one request, and give the answer's JSON.

        Args:
            name: The model.
            body: The request, such as `{"user_id": "196", "k": 10}`.
            version: The model's version; by default the server's default one.
            grpc: Ask over gRPC rather than REST.
            timeout: Seconds that the answer may take.

        Raises:
            BodyError: The request can't be written as JSON; nothing was sent.
            AnswerError: The server answered with an error, or not in time.
            ServerNotRunningError: Nobody answers at the address.
        """
        content = _encode(body)
        ask = self._ask_grpc if grpc else self._ask_rest
        token = self._token
        try:
            return ask(name, version, content, token, timeout)
        except AnswerError as error:
            if error.type != "InvalidKeyException" or token is None or self._renew is None:
                raise
            self._token = self._renew(token)
        return ask(name, version, content, self._token, timeout)

    def _ask_rest(
        self, name: str, version: str | None, content: bytes, token: str | None, timeout: float
    ) -> Any:
        path = f"/predictions/{quote(name, safe='')}" + (f"/{quote(version, safe='')}" if version else "")
        headers = {"Content-Type": "application/json"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        try:
            answer = self._http.post(path, content=content, headers=headers, timeout=timeout)
        except httpx.TimeoutException:
            raise AnswerError(f"{name}: no answer within {timeout:g} s", code=504, type="timeout") from None
        except httpx.TransportError as error:
            raise ServerNotRunningError(f"no server answers at {self._http.base_url} ({error})") from None
        return parse_answer(name, answer.content, answer.status_code)

    def _ask_grpc(
        self, name: str, version: str | None, content: bytes, token: str | None, timeout: float
    ) -> Any:
        if self._grpc is None:
            raise ServingError(
                "this client has no gRPC address: give one as Client(rest, grpc='127.0.0.1:7070')"
            )
        answer = self._grpc.predictions(name, version, content, token, timeout)
        # An error of a single request of a batch comes with the status OK.
        return parse_answer(name, answer, 200)


def _encode(body: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(body, allow_nan=False, separators=(",", ":")).encode()
    except RecursionError:
        reason = "it is nested too deeply"
    except (TypeError, ValueError) as error:
        reason = shorten(str(error))
    raise BodyError(f"the request can't be sent as JSON ({reason}): {shorten(body)}")


def parse_answer(name: str, content: bytes, status: int) -> Any:
    """Parse an answer's JSON.

    Raises:
        AnswerError: It is an error: by its status, or because it has what all errors here have.
        ServingError: It is no JSON.
    """
    try:
        answer = json.loads(content)
    except (ValueError, RecursionError):
        answer = None
        if status < 400:
            raise ServingError(f"{name}: expected JSON for an answer, got {shorten(content)}") from None
    if (
        isinstance(answer, dict)
        and {"code", "type", "message"} <= answer.keys()
        and isinstance(answer["code"], int)
    ):
        field = answer.get("field")
        raise AnswerError(
            str(answer["message"]),
            code=answer["code"],
            type=str(answer["type"]),
            field=field if isinstance(field, str) else None,
        )
    if status >= 400:
        raise AnswerError(
            f"{name}: status {status}: {shorten(content.decode(errors='replace'))}",
            code=status,
            type="unknown",
        )
    return answer


def _on_loopback(address: str) -> bool:
    """Tell whether an address is this host's own, which no proxy of the environment can reach."""
    host = httpx.URL(address).host
    return host in ("localhost", "::1") or host.startswith("127.")
