"""The picture of a load measurement: one HTML file that needs nothing else."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from torchtowers.serving.load import PERCENTILES, LoadResult
from torchtowers.serving.pages import write_page

__all__ = ["write_load_report"]

_WIDTH, _HEIGHT = 640, 220
_PARTS = 60
_BARS = 40


@dataclass(frozen=True)
class Line:
    """A line over the time of the measurement.

    Args:
        label: What it shows, with its unit.
        points: As SVG takes them, in a picture of 640 x 220.
        top: The value at the upper edge.
    """

    label: str
    points: str
    top: float


@dataclass(frozen=True)
class Bar:
    """Answers whose latency lies in one range.

    Args:
        below: Its upper end, milliseconds.
        height: Part of the highest bar, 0 to 1.
        count: Answers.
    """

    below: float
    height: float
    count: int


def write_load_report(result: LoadResult, path: str | Path) -> None:
    """Write what a measurement saw as an HTML page.

    Raises:
        ServingError: The file can't be written.
    """
    write_page(
        path,
        "load_report.html.jinja",
        result=result,
        percentiles=[(f"p{percent:g}", result.percentile(percent)) for percent in (*PERCENTILES, 100)],
        throughput=_throughput(result),
        latencies=[_latency(result, percent) for percent in (50, 99)] if len(result.milliseconds) else [],
        bars=_bars(result.milliseconds),
        width=_WIDTH,
        height=_HEIGHT,
    )


def _part_of(result: LoadResult) -> tuple[NDArray[np.int64], int]:
    """Give the part of the time that each answer came in, and how many parts there are."""
    parts = max(2, min(_PARTS, int(result.seconds * 2)))
    places = np.minimum((result.finished / result.seconds * parts).astype(np.int64), parts - 1)
    return places, parts


def _throughput(result: LoadResult) -> Line:
    places, parts = _part_of(result)
    rates = np.bincount(places, minlength=parts) / (result.seconds / parts)
    return _line("requests/s", rates)


def _latency(result: LoadResult, percent: int) -> Line:
    places, parts = _part_of(result)
    values = []
    for part in range(parts):
        own = result.milliseconds[places == part]
        values.append(float(np.percentile(own, percent)) if len(own) else 0.0)
    return _line(f"p{percent}, ms", np.array(values))


def _line(label: str, values: NDArray[np.float64]) -> Line:
    top = float(values.max(initial=0.0)) * 1.1 or 1.0
    xs = np.linspace(0, _WIDTH, len(values))
    ys = _HEIGHT - values / top * _HEIGHT
    return Line(label, " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(xs, ys, strict=True)), top)


def _bars(milliseconds: NDArray[np.float32]) -> list[Bar]:
    """Count answers by latency, in ranges that grow by the same factor."""
    if not len(milliseconds):
        return []
    least, most = max(float(milliseconds.min()), 1e-3), max(float(milliseconds.max()), 2e-3)
    edges = np.geomspace(least, most * 1.0001, _BARS + 1)
    edges[0] = 0
    counts, _ = np.histogram(milliseconds, edges)
    highest = counts.max()
    return [
        Bar(float(edge), float(count / highest), int(count))
        for edge, count in zip(edges[1:], counts, strict=True)
    ]
