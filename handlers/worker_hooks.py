"""Puts our reading and writing of batches in the place of TorchServe's, and spares each batch its log lines.

Of each batch TorchServe 0.12 writes that it came, and its time with the ids of all its requests: two lines of
up to 1.3 kB that the server reads and parses again, a tenth of what a batch costs.
"""

import logging
import sys
from collections.abc import Callable, Sequence
from typing import Any

from torchtowers.handlers.worker_reads import Arrived, retrieve_inference_message
from torchtowers.handlers.worker_writes import predict_response

__all__ = ["LastTime", "take_over_batches"]

# The one version whose functions are replaced: its protocol has no version of its own.
_VERSION = "0.12.0"

_LOGGER = logging.getLogger(__name__)
_READER, _DATA = "_retrieve_inference_msg", "retrieve_data_for_inference"
_WRITER = "create_predict_response"
_WORKER = "TorchModelServiceWorker"
_TIME = "PredictionTime"


def take_over_batches() -> bool:
    """Replace what reads and writes the batches of the TorchServe that this process is a worker of.

    In any other process, and of another version, nothing is changed.

    Returns:
        Whether that was done.
    """
    if not hasattr(sys.modules["__main__"], _WORKER):
        return False
    protocol, service = sys.modules["ts.protocol.otf_message_handler"], sys.modules["ts.service"]
    if getattr(sys.modules["ts"], "__version__", None) != _VERSION:
        _LOGGER.info("TorchServe is not %s: its own reading of batches is kept", _VERSION)
        return False
    processor = sys.modules["ts.context"].RequestProcessor
    setattr(protocol, _READER, retrieve_inference_message)
    setattr(service.Service, _DATA, staticmethod(_data_of(processor)))
    setattr(service, _WRITER, predict_response(getattr(protocol, _WRITER)))
    logging.getLogger().addFilter(_is_worth_a_line)
    return True


def _data_of(processor: Callable[[dict[str, Any]], Any]) -> Callable[[Sequence[Arrived]], Any]:
    def retrieve_data_for_inference(
        batch: Sequence[Arrived],
    ) -> tuple[list[Any], list[dict[str, Any]], dict[int, str]]:
        return (
            [processor(request.headers) for request in batch],
            [request.item for request in batch],
            {position: request.identifier.decode() for position, request in enumerate(batch)},
        )

    return retrieve_data_for_inference


def _is_worth_a_line(record: logging.LogRecord) -> bool:
    return record.msg != "Backend received inference at: %d"


class LastTime:
    """Keeps the time of the last batch, `PredictionTime`, for whoever sends it now and then.

    It is a gauge: of many values between two readings of the metrics only the last can be seen.

    Args:
        metrics: TorchServe's cache of metrics, of a worker's context, which sends every value by itself.
    """

    def __init__(self, metrics: Any) -> None:
        self._send = metrics.add_time
        self._last: float | None = None
        metrics.add_time = self._add_time

    def send(self) -> None:
        """Send the last value, where one has come since the last time."""
        last, self._last = self._last, None
        if last is not None:
            self._send(_TIME, last)

    def _add_time(self, name: str, value: float, *others: Any, **options: Any) -> None:
        if name == _TIME and not others and not options:
            self._last = value
        else:
            self._send(name, value, *others, **options)
