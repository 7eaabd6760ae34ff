"""The settings of a model that tuning measures: how many requests wait how long for which workers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from torchtowers.handlers.errors import shorten
from torchtowers.serving.errors import ServingError

__all__ = ["Setting", "grid"]

_SECTION = "torchtowers"
# What TorchServe takes where a model-config.yaml says nothing; of a delay of 0, too.
_BATCH_SIZE = 1
_DELAY = 100


@dataclass(frozen=True)
class Setting:
    """How TorchServe runs a model, as far as it decides about its speed.

    Args:
        batch_size: The most requests that are answered in one pass.
        delay: Milliseconds that a batch waits to be filled.
        workers: Processes that answer.
        threads: Of one operation in one worker; None where the handler is not ours.
    """

    batch_size: int
    delay: int
    workers: int
    threads: int | None

    @classmethod
    def of_config(cls, config: Mapping[str, Any], *, workers: int, threads: int | None) -> "Setting":
        """Read it from a parsed model-config.yaml.

        Args:
            config: The file's content.
            workers: Where it does not say.
            threads: Where it does not say.

        Raises:
            ServingError: A value is no positive integer.
        """
        section = config.get(_SECTION)
        own = section.get("threads") if isinstance(section, Mapping) else None
        size = config.get("batchSize", _BATCH_SIZE)
        delay = config.get("maxBatchDelay") or _DELAY
        least = config.get("minWorkers", workers)
        for key, value in (("batchSize", size), ("maxBatchDelay", delay), ("minWorkers", least)):
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ServingError(
                    f"model-config.yaml: {key}: expected a positive integer, got {shorten(value)}"
                )
        return cls(size, delay, least, threads if own is None else own)

    def applied(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Give a model-config.yaml's content with this setting; every other key stays."""
        changed = {
            **config,
            "minWorkers": self.workers,
            "maxWorkers": self.workers,
            "batchSize": self.batch_size,
            "maxBatchDelay": self.delay,
        }
        if self.threads is not None:
            changed[_SECTION] = {**(config.get(_SECTION) or {}), "threads": self.threads}
        return changed

    def alike(self, clients: int) -> tuple[object, ...]:
        """Give what tells it from other settings under so many clients.

        A batch of one is full at once, so that the delay does not matter. One of more requests than there
        are clients is never full, however many more.
        """
        delay = None if self.batch_size == 1 else self.delay
        return (self.workers, self.threads, min(self.batch_size, clients + 1), delay)

    def __str__(self) -> str:
        parts = [f"batch {self.batch_size}"]
        if self.batch_size > 1:
            parts.append(f"delay {self.delay} ms")
        parts.append(f"{self.workers} worker{'s' if self.workers > 1 else ''}")
        if self.threads is not None:
            parts.append(f"{self.threads} thread{'s' if self.threads > 1 else ''}")
        return ", ".join(parts)


def grid(
    present: Setting,
    *,
    batch_sizes: Sequence[int],
    delays: Sequence[int],
    workers: Sequence[int],
    threads: Sequence[int],
    clients: int,
    cores: int,
) -> list[Setting]:
    """Give the settings to measure: the present one, then every combination that can differ from the others.

    Left out are those that are `alike` another one, and those whose threads of all workers are more than
    the cores, which only wait for one another.

    Args:
        present: The archive's own.
        batch_sizes: To try.
        delays: In milliseconds, to try.
        workers: To try.
        threads: To try; none where the handler is not ours.
        clients: That ask at once.
        cores: Of this machine.

    Raises:
        ServingError: A value is below 1.
    """
    for name, values in (
        ("batch-sizes", batch_sizes),
        ("delays", delays),
        ("workers", workers),
        ("threads", threads),
        ("clients", [clients]),
    ):
        if not values or min(values) < 1:
            why = ": TorchServe takes a delay of 0 for 100 ms" if name == "delays" else ""
            given = " ".join(map(str, values)) or "none"
            raise ServingError(f"--{name}: expected integers of at least 1, got {given}{why}")
    kept = {present.alike(clients): present}
    of_threads: Sequence[int | None] = [None] if present.threads is None else sorted(threads)
    for some, each, size, delay in product(sorted(workers), of_threads, sorted(batch_sizes), sorted(delays)):
        if each is None or each == 1 or some * each <= cores:
            setting = Setting(size, delay, some, each)
            kept.setdefault(setting.alike(clients), setting)
    return list(kept.values())
