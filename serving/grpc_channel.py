"""gRPC connections to TorchServe's inference service."""

from typing import Any

import grpc
import grpc.aio

from torchtowers.serving.conversation import WORKER_DIED, timed_out, too_large
from torchtowers.serving.errors import ServerNotRunningError, ServingError, answer_error
from torchtowers.serving.grpc_messages import PREDICTIONS, PredictionResponse, PredictionsRequest

__all__ = ["AsyncGrpcChannel", "GrpcChannel"]

# TorchServe names its exception below the message, and gives most of them the status INTERNAL: these are
# the statuses of the same ones over REST.
_EXCEPTIONS = {
    "BadRequestException": 400,
    "ConflictStatusException": 409,
    "InternalServerException": 500,
    "InvalidModelException": 400,
    "ModelNotFoundException": 404,
    "ModelVersionNotFoundException": 404,
    "ResourceNotFoundException": 404,
    "ServiceUnavailableException": 503,
}
_STATUSES = {
    grpc.StatusCode.CANCELLED: 499,
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.UNIMPLEMENTED: 501,
}


# The server sets the limits; a proxy of the environment doesn't reach the loopback; and a server that starts
# anew is found soon.
_OPTIONS = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.enable_http_proxy", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
)


class GrpcChannel:
    """A connection that is kept between requests.

    Args:
        target: Host and port.
    """

    def __init__(self, target: str) -> None:
        self._target = target
        self._channel = grpc.insecure_channel(target, options=_OPTIONS)
        self._predictions = self._channel.unary_unary(
            PREDICTIONS,
            request_serializer=PredictionsRequest.SerializeToString,
            response_deserializer=PredictionResponse.FromString,
        )

    def predictions(
        self, name: str, version: str | None, content: bytes, token: str | None, timeout: float
    ) -> bytes:
        """Ask for one prediction, and give the bytes of the answer.

        Raises:
            AnswerError: The call failed; `code` and `type` are what the same failure has over REST.
            ServerNotRunningError: Nobody answers at the address.
        """
        try:
            response = self._predictions(
                _request(name, version, content), timeout=timeout, metadata=_metadata(token)
            )
        except grpc.RpcError as error:
            raise _error(self._target, name, error.code(), error.details() or "", timeout) from None
        return bytes(response.prediction)

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()


class AsyncGrpcChannel:
    """The same for the coroutines of one event loop.

    Args:
        target: Host and port.
    """

    def __init__(self, target: str) -> None:
        self._target = target
        self._channel: grpc.aio.Channel | None = None
        self._predictions: Any = None

    async def predictions(
        self, name: str, version: str | None, content: bytes, token: str | None, timeout: float
    ) -> bytes:
        """Ask for one prediction, and give the bytes of the answer.

        Raises:
            AnswerError: The call failed; `code` and `type` are what the same failure has over REST.
            ServerNotRunningError: Nobody answers at the address.
        """
        if self._channel is None:
            # A channel belongs to the loop that runs when it is made.
            self._channel = grpc.aio.insecure_channel(self._target, options=_OPTIONS)
            self._predictions = self._channel.unary_unary(
                PREDICTIONS,
                request_serializer=PredictionsRequest.SerializeToString,
                response_deserializer=PredictionResponse.FromString,
            )
        try:
            response = await self._predictions(
                _request(name, version, content), timeout=timeout, metadata=_metadata(token)
            )
        except grpc.aio.AioRpcError as error:
            raise _error(self._target, name, error.code(), error.details() or "", timeout) from None
        return bytes(response.prediction)

    async def close(self) -> None:
        """Close the connection."""
        if self._channel is not None:
            await self._channel.close(None)


def _request(name: str, version: str | None, content: bytes) -> Any:
    return PredictionsRequest(model_name=name, model_version=version or "", input={"body": content})


def _metadata(token: str | None) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {token}"),) if token else ()


def _error(target: str, name: str, status: grpc.StatusCode, details: str, timeout: float) -> ServingError:
    message, _, exception = details.partition("\n")
    kind = exception.strip().rpartition(".")[2]
    if message == WORKER_DIED and status is grpc.StatusCode.RESOURCE_EXHAUSTED:
        return answer_error(message, code=507, type=kind)
    if kind:
        return answer_error(message, code=_STATUSES.get(status) or _EXCEPTIONS.get(kind, 500), type=kind)
    if status is grpc.StatusCode.UNAVAILABLE:
        return ServerNotRunningError(f"no server answers at {target} (gRPC: {message})")
    if status is grpc.StatusCode.CANCELLED and "RST_STREAM" in details:
        # Nothing else makes this server end a call: its limit is checked while the request comes.
        return too_large(name)
    if status is grpc.StatusCode.DEADLINE_EXCEEDED:
        return timed_out(name, timeout)
    if status is grpc.StatusCode.PERMISSION_DENIED:
        return answer_error(message, code=400, type="InvalidKeyException")
    return answer_error(
        f"{name}: {message or status.name}", code=_STATUSES.get(status, 500), type=status.name
    )
