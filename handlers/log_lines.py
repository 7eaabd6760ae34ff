"""Lines of a worker's log that a machine can read: JSON, one event a line."""

import json
import logging
import traceback
from typing import Any

__all__ = ["log_event", "log_failure"]

_LOGGER = logging.getLogger("torchtowers")
_MOST_OF_ERROR, _MOST_OF_TRACE = 500, 20_000


def log_event(event: str, *, level: int = logging.INFO, **fields: Any) -> None:
    """Write an event with its fields."""
    _LOGGER.log(level, "%s", json.dumps({"event": event, **fields}, default=str))


def log_failure(what: str, error: Exception, request_id: str = "") -> None:
    """Write a fault of ours with its stack trace, which no answer shows.

    Args:
        what: What could not be done.
        error: The fault.
        request_id: TorchServe's id of the request, which it also writes into its access log.
    """
    trace = "".join(traceback.format_exception(error))[-_MOST_OF_TRACE:]
    log_event(
        "failure",
        level=logging.ERROR,
        what=what,
        error=f"{type(error).__name__}: {error}"[:_MOST_OF_ERROR],
        request_id=request_id,
        trace=trace,
    )
