"""model-config.yaml: how TorchServe runs an archive."""

from dataclasses import dataclass
from typing import Literal

import yaml

from torchtowers.export.errors import ExportError

__all__ = ["ServingConfig"]


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
        max_candidates: Candidates that one row may have ranked.
        max_scores: Candidates of all rows of one request together.
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
    max_candidates: int = 10_000
    max_scores: int = 100_000

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
            ("max_k", 1),
            ("max_rows", 1),
            ("max_candidates", 1),
            ("max_scores", 1),
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
                "max_k": self.max_k,
                "max_rows": self.max_rows,
                "max_candidates": self.max_candidates,
                "max_scores": self.max_scores,
            },
        }
        return yaml.safe_dump(content, sort_keys=False)
