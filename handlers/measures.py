"""What a worker counts and times, and how it becomes TorchServe's metrics: counters, sent once a second.

TorchServe takes a metric as a line of a worker's output, so a line for each request would cost more than the
request. What came within a second is added up and sent as one number.
"""

import logging
import threading
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from contextlib import ContextDecorator
from itertools import accumulate
from time import perf_counter
from typing import Any

__all__ = ["BATCH_SIZES", "METRICS", "MODEL", "SECONDS", "STAGES", "Measures", "Reporter", "measures"]

_LOGGER = logging.getLogger(__name__)

SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)
BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)
_INFINITE = "+Inf"

MODEL = ("model_name", "model_version")
"""The labels of every metric."""

STAGES = "torchtowers_stage_seconds_total"

# By name, the labels that come behind the model's name and version.
METRICS: Mapping[str, tuple[str, ...]] = {
    "torchtowers_requests_total": ("outcome",),
    "torchtowers_rows_total": (),
    "torchtowers_unknown_ids_total": (),
    "torchtowers_empty_answers_total": (),
    "torchtowers_batches_total": (),
    "torchtowers_batch_size_bucket": ("le",),
    "torchtowers_batch_seconds_sum": (),
    "torchtowers_batch_seconds_bucket": ("le",),
    STAGES: ("stage",),
}

# A metric's name and the values of its labels.
Key = tuple[str, tuple[str, ...]]


class Measures:
    """Counters of one process. Adding is done by the thread that answers, taking by the one that reports."""

    def __init__(self) -> None:
        self._counts: dict[Key, float] = {}
        # By name, the bounds and how many values were up to each of them and above the one before.
        self._observed: dict[str, tuple[tuple[float, ...], list[int]]] = {}
        self._lock = threading.Lock()

    def add(self, name: str, value: float, *labels: str) -> None:
        """Add to a counter of `METRICS`."""
        key = (name, labels)
        with self._lock:
            self._counts[key] = self._counts.get(key, 0) + value

    def observe(self, name: str, value: float, bounds: tuple[float, ...]) -> None:
        """Add a value to a histogram."""
        place = bisect_left(bounds, value)
        with self._lock:
            if name not in self._observed:
                self._observed[name] = (bounds, [0] * (len(bounds) + 1))
            self._observed[name][1][place] += 1

    def stage(self, name: str) -> "Stage":
        """Time a part of the answering of a batch: decode, encode, tower, index, rank or answer."""
        return Stage(self, name)

    def take(self) -> dict[Key, float]:
        """Give what was added since the last time, and begin anew.

        A histogram's buckets are as Prometheus has them: a value counts in all from its own upwards.
        """
        with self._lock:
            counts, self._counts = self._counts, {}
            observed, self._observed = self._observed, {}
        for name, (bounds, own) in observed.items():
            texts = [*(f"{bound:g}" for bound in bounds), _INFINITE]
            for text, count in zip(texts, accumulate(own), strict=True):
                if count:
                    counts[f"{name}_bucket", (text,)] = count
        return counts


class Stage(ContextDecorator):
    """Adds the seconds that were spent within it, also where that failed.

    Args:
        to: Where they are added.
        name: The stage.
    """

    __slots__ = ("_begin", "_name", "_to")

    def __init__(self, to: Measures, name: str) -> None:
        self._to = to
        self._name = name
        self._begin = 0.0

    def __enter__(self) -> None:
        self._begin = perf_counter()

    def __exit__(self, *_: object) -> None:
        self._to.add(STAGES, perf_counter() - self._begin, self._name)


measures = Measures()
"""Those of this process: a worker serves one model."""


class Reporter:
    """Sends a process's measures as TorchServe's metrics, in a thread of its own.

    Args:
        metrics: TorchServe's cache of metrics, of a worker's context.
        model: The model's name and version.
        source: What is sent.
        interval: Seconds between two times.
        others: Called each time, too: what else is sent now and then.
    """

    def __init__(
        self,
        metrics: Any,
        model: tuple[str, str],
        source: Measures = measures,
        interval: float = 1.0,
        others: Sequence[Callable[[], None]] = (),
    ) -> None:
        self._metrics = metrics
        self._model = model
        self._source = source
        self._interval = interval
        self._others = others
        self._counters: dict[str, Any] = {}
        self._over = threading.Event()

    def start(self) -> None:
        """Send from now on, until the process ends."""
        threading.Thread(target=self._run, name="torchtowers-metrics", daemon=True).start()

    def stop(self) -> None:
        """Send no more."""
        self._over.set()

    def send(self) -> None:
        """Send what was added since the last time."""
        for (name, labels), value in self._source.take().items():
            self._counter(name).add_or_update(value, [*self._model, *labels])
        for send in self._others:
            send()

    def _run(self) -> None:
        while not self._over.wait(self._interval):
            try:
                self.send()
            except Exception:  # a metric that is lost must not end the thread, nor the worker
                _LOGGER.exception("metrics could not be sent")

    def _counter(self, name: str) -> Any:
        if name not in self._counters:
            # Known to the worker already where the server's metrics file lists it.
            known = {metric: of for kind in self._metrics.cache.values() for metric, of in kind.items()}
            self._counters[name] = known.get(name) or self._metrics.add_metric_to_cache(
                name, "count", [*MODEL, *METRICS[name]]
            )
        return self._counters[name]
