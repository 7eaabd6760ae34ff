"""What tuning saw of each setting, and which one it takes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from torchtowers.serving.load import LoadResult
from torchtowers.serving.tuning_grid import Setting

__all__ = ["LATER", "SLOWER", "Point", "choose", "finalists", "most_latency"]

SLOWER = 1.5
"""How many times the least latency of one client may be reached, where no limit is given."""

LATER = 2.0
"""Milliseconds that may be added to the least latency of one client in any case."""

# That are measured again.
_BEST = 3

# Throughputs that differ by less are the same: short measurements of one setting differ by as much.
_SAME = 0.05


@dataclass(frozen=True)
class Point:
    """One setting, measured; or why it was not.

    Args:
        setting: The setting.
        requests_per_second: Under load; 0 where it failed.
        p50: The median latency under load in milliseconds.
        p99: The latency under load that 99 % stay below, in milliseconds.
        single: The median latency of one client alone, in milliseconds.
        failure: Why it is out of the question; None where it isn't.
    """

    setting: Setting
    requests_per_second: float = 0.0
    p50: float = 0.0
    p99: float = 0.0
    single: float = 0.0
    failure: str | None = None

    @classmethod
    def of(cls, setting: Setting, single: LoadResult, load: LoadResult) -> "Point":
        """Take what one client and many saw; errors and wrong answers make it a failure."""
        for result in (single, load):
            with_clients = f"with {result.clients} client{'s' if result.clients > 1 else ''}"
            if result.errors:
                kind, count = next(iter(result.errors.items()))
                return cls(setting, failure=f"{count:,} x {kind} {with_clients}")
            if result.wrong:
                failure = f"{result.wrong:,} of {result.checked:,} answers are wrong {with_clients}"
                return cls(setting, failure=f"{failure}: {result.first_wrong}")
            if not len(result.milliseconds):
                return cls(setting, failure=f"no answer in {result.seconds:g} s {with_clients}")
        return cls(
            setting,
            load.requests_per_second,
            load.percentile(50) or 0.0,
            load.percentile(99) or 0.0,
            single.percentile(50) or 0.0,
        )

    @classmethod
    def best(cls, rounds: Sequence["Point"]) -> "Point":
        """Take a setting's rounds together: the most throughput with its latencies, the least of one client.

        What else the machine does only makes a round worse. One that failed makes all of them a failure.

        Args:
            rounds: One at least.
        """
        failed = next((point for point in rounds if point.failure is not None), None)
        if failed is not None:
            return failed
        best = max(rounds, key=lambda point: point.requests_per_second)
        return replace(best, single=min(point.single for point in rounds))

    def to_json(self) -> dict[str, Any]:
        """Give the figures for machines."""
        if self.failure is not None:
            return {**vars(self.setting), "failure": self.failure}
        return {
            **vars(self.setting),
            "requests_per_second": round(self.requests_per_second, 1),
            "p50_ms": round(self.p50, 3),
            "p99_ms": round(self.p99, 3),
            "single_p50_ms": round(self.single, 3),
        }


def most_latency(points: Sequence[Point], given: float | None) -> float:
    """Give the most milliseconds that one client may have to wait.

    What is given; else 1.5 times as long as with the quickest setting, or 2 ms longer, whichever is more: to
    wait for a batch costs a quick model more than half of its time, and is not felt.
    """
    if given is not None:
        return given
    least = min((point.single for point in points if point.failure is None), default=0.0)
    return max(SLOWER * least, least + LATER)


def choose(points: Sequence[Point], most: float) -> Point | None:
    """Take the setting with the highest throughput of those that answer one client soon enough.

    Of those within 5 % of that throughput, the one with the fewest workers, then threads, then the least
    latency of one client is taken.

    Args:
        points: What was measured.
        most: The most milliseconds that the median request of one client may take.

    Returns:
        The point; None where every one failed or is too slow.
    """
    sound = [point for point in points if point.failure is None and point.single <= most]
    best = max((point.requests_per_second for point in sound), default=0.0)
    tied = [point for point in sound if point.requests_per_second >= best * (1 - _SAME)]
    return min(
        tied,
        key=lambda point: (
            point.setting.workers,
            point.setting.threads or 0,
            point.single,
            -point.requests_per_second,
        ),
        default=None,
    )


def finalists(points: Sequence[Point], most: float) -> list[Setting]:
    """Give the settings to measure again: the present one, unless it failed, and the best three others.

    Args:
        points: What was measured, the present setting first.
        most: As for `choose`.
    """
    present, *others = points
    sound = [point for point in others if point.failure is None and point.single <= most]
    best = sorted(sound, key=lambda point: -point.requests_per_second)[:_BEST]
    return [point.setting for point in (present, *best) if point.failure is None]
