"""model-config.yaml: how TorchServe runs an archive."""

from dataclasses import dataclass, fields
from typing import Any, Literal

import yaml

from torchtowers.export.errors import ExportError
from torchtowers.handlers.limits import Limits

__all__ = ["ServingConfig"]

# What the handlers know of, but for the k of a row that does not say.
_LIMITS = tuple(limit.name for limit in fields(Limits) if limit.name != "default_k")


@dataclass(frozen=True)
class ServingConfig:
    """TorchServe's settings for one model, and the handler's own under `torchtowers:`.

    Args:
        workers: Processes that answer.
        batch_size: Requests that are answered in one pass.
        max_batch_delay: Milliseconds that a batch waits to be filled; every batch that is not full waits all
            of them, so this is added to the latency of a quiet server. TorchServe takes 0 for 100.
        response_timeout: Seconds after which a worker that does not answer is restarted.
        startup_timeout: Seconds that loading the model may take.
        job_queue_size: Requests that may wait; what comes beyond is answered 503 at once.
        client_timeout: Milliseconds after which a request that still waits is dropped; 0 for never.
        device: `cpu` or `gpu`.
        device_ids: The GPUs that workers are spread over; all if empty.
        threads: Of one operation of the model in one worker.
        max_k: The largest k that a request may ask for.
        max_rows: Rows that one request may have.
        max_exclude: Items that one row may exclude.
        max_include: Items that one row may be kept to.
        max_filter_columns: Item columns that one row may filter by.
        max_filter_values: Values that one column may be filtered by.
        max_diversity_columns: Item columns that one row may cap.
        candidates: Items that a model of two stages ranks; None for as many as its artifact says.
        max_candidates: Candidates that one row may have ranked.
        max_scores: Candidates of all rows of one request together.
        max_body_bytes: Of one request's body; the server's own limit is `max_request_size`.
        max_answer_bytes: Of one answer; has to stay below the server's `max_response_size`.
    """

    workers: int = 1
    batch_size: int = 32
    max_batch_delay: int = 1
    response_timeout: int = 120
    startup_timeout: int = 120
    job_queue_size: int = 100
    client_timeout: int = 0
    device: Literal["cpu", "gpu"] = "cpu"
    device_ids: tuple[int, ...] = ()
    threads: int = 1
    max_k: int = 10_000
    max_rows: int = 1_000
    max_exclude: int = 10_000
    max_include: int = 10_000
    max_filter_columns: int = 16
    max_filter_values: int = 1_000
    max_diversity_columns: int = 4
    candidates: int | None = None
    max_candidates: int = 10_000
    max_scores: int = 100_000
    max_body_bytes: int = 6_553_500
    max_answer_bytes: int = 6_000_000

    def __post_init__(self) -> None:
        """Refuse what TorchServe would only warn of or ignore.

        Raises:
            ExportError: A number is too small or no integer, or the device is unknown.
        """
        for name, least in (
            ("workers", 1),
            ("batch_size", 1),
            ("max_batch_delay", 1),
            ("response_timeout", 1),
            ("startup_timeout", 1),
            ("job_queue_size", 1),
            ("client_timeout", 0),
            ("threads", 1),
            *((name, 1) for name in self._limits()),
        ):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ExportError(f"{name}: expected an integer of at least {least}, got {value!r}")
        if self.device not in ("cpu", "gpu"):
            raise ExportError(f"device: expected cpu or gpu, got {self.device!r}")
        ids = self.device_ids
        if len(set(ids)) < len(ids) or any(type(number) is not int or number < 0 for number in ids):
            raise ExportError(f"device_ids: expected different integers of at least 0, got {ids!r}")
        if ids and self.device != "gpu":
            raise ExportError(f"device_ids: {ids!r} are of GPUs, and device is {self.device}; choose gpu")

    def _limits(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in _LIMITS if getattr(self, name) is not None}

    def to_yaml(self) -> str:
        """Give the file's text."""
        content = {
            "minWorkers": self.workers,
            "maxWorkers": self.workers,
            "batchSize": self.batch_size,
            "maxBatchDelay": self.max_batch_delay,
            "responseTimeout": self.response_timeout,
            "startupTimeout": self.startup_timeout,
            "jobQueueSize": self.job_queue_size,
            "clientTimeoutInMills": self.client_timeout,
            "deviceType": self.device,
            **({"deviceIds": list(self.device_ids)} if self.device_ids else {}),
            "torchtowers": {
                "threads": self.threads,
                **self._limits(),
            },
        }
        return yaml.safe_dump(content, sort_keys=False)
