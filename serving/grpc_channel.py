"""One gRPC connection to TorchServe's inference service."""

import grpc

from torchtowers.serving.errors import AnswerError, ServerNotRunningError, ServingError
from torchtowers.serving.grpc_messages import PREDICTIONS, PredictionResponse, PredictionsRequest

__all__ = ["GrpcChannel"]

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


class GrpcChannel:
    """A connection that is kept between requests.

    Args:
        target: Host and port.
    """

    def __init__(self, target: str) -> None:
        self._target = target
        self._channel = grpc.insecure_channel(
            target,
            # The server sets the limits; a proxy of the environment doesn't reach the loopback.
            options=[("grpc.max_receive_message_length", -1), ("grpc.enable_http_proxy", 0)],
        )
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
        request = PredictionsRequest(model_name=name, model_version=version or "", input={"body": content})
        metadata = (("authorization", f"Bearer {token}"),) if token else ()
        try:
            response = self._predictions(request, timeout=timeout, metadata=metadata)
        except grpc.RpcError as error:
            raise self._error(name, error.code(), error.details() or "", timeout) from None
        return bytes(response.prediction)

    def _error(self, name: str, status: grpc.StatusCode, details: str, timeout: float) -> ServingError:
        message, _, exception = details.partition("\n")
        kind = exception.strip().rpartition(".")[2]
        if kind:
            return AnswerError(message, code=_STATUSES.get(status) or _EXCEPTIONS.get(kind, 500), type=kind)
        if status is grpc.StatusCode.UNAVAILABLE and ("connect" in details or "Socket closed" in details):
            return ServerNotRunningError(f"no server answers at {self._target} (gRPC)")
        if status is grpc.StatusCode.DEADLINE_EXCEEDED:
            return AnswerError(f"{name}: no answer within {timeout:g} s", code=504, type="timeout")
        if status is grpc.StatusCode.PERMISSION_DENIED:
            return AnswerError(message, code=400, type="InvalidKeyException")
        return AnswerError(
            f"{name}: {message or status.name}", code=_STATUSES.get(status, 500), type=status.name
        )

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()
