"""Clients that ask over gRPC, each the next request as soon as the one before is answered."""

import asyncio
from time import perf_counter

import grpc
import grpc.aio

from torchtowers.serving.grpc_messages import PREDICTIONS, PredictionResponse, PredictionsRequest
from torchtowers.serving.load_record import Recorder

__all__ = ["GrpcLoad"]

_PAUSE = 0.05


class GrpcLoad:
    """Sends a recorder's requests over gRPC, all clients over one connection.

    Args:
        target: Host and port.
        name: The model.
        version: Its version; None for the default one.
        recorder: Gives requests and takes answers.
        token: The inference token, or None.
        timeout: Seconds that an answer may take.
    """

    protocol = "gRPC"

    def __init__(
        self,
        target: str,
        name: str,
        version: str | None,
        recorder: Recorder,
        token: str | None,
        timeout: float,
    ) -> None:
        self._channel = grpc.aio.insecure_channel(
            target, options=[("grpc.max_receive_message_length", -1), ("grpc.enable_http_proxy", 0)]
        )
        self._ask = self._channel.unary_unary(PREDICTIONS, None, PredictionResponse.FromString)
        self._requests = [
            PredictionsRequest(
                model_name=name, model_version=version or "", input={"body": body}
            ).SerializeToString()
            for body in recorder.requests
        ]
        self._metadata = (("authorization", f"Bearer {token}"),) if token else ()
        self._recorder = recorder
        self._timeout = timeout

    async def client(self) -> None:
        """Be one client until the recorder gives no more requests."""
        while (place := self._recorder.next()) is not None:
            sent = perf_counter()
            try:
                answer = await self._ask(
                    self._requests[place], timeout=self._timeout, metadata=self._metadata
                )
            except grpc.aio.AioRpcError as error:
                self._recorder.failed(f"gRPC {error.code().name}")
                await asyncio.sleep(_PAUSE)
            else:
                self._recorder.answered(place, sent, 200, answer.prediction)

    async def close(self) -> None:
        """Close the connection."""
        await self._channel.close(None)
