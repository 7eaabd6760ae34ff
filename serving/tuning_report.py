"""The picture of a tuning: one HTML file that needs nothing else."""

from dataclasses import dataclass
from pathlib import Path

from torchtowers.serving.pages import write_page
from torchtowers.serving.tuning_choice import Point
from torchtowers.serving.tuning_result import Tuning

__all__ = ["write_tuning_report"]

_WIDTH, _HEIGHT = 640, 320


@dataclass(frozen=True)
class Dot:
    """A setting in the picture.

    Args:
        x: To the right, latency of one client.
        y: Down, from the highest throughput.
        kind: `chosen`, `present` or empty.
        label: What it is.
    """

    x: float
    y: float
    kind: str
    label: str


def write_tuning_report(tuning: Tuning, path: str | Path) -> None:
    """Write what tuning measured as an HTML page.

    Raises:
        ServingError: The file can't be written.
    """
    sound = [point for point in tuning.ranked if point.failure is None]
    slowest = max([tuning.most_latency, *(point.single for point in sound)]) * 1.05 or 1.0
    highest = max((point.requests_per_second for point in sound), default=0.0) * 1.05 or 1.0
    write_page(
        path,
        "tuning_report.html.jinja",
        tuning=tuning,
        dots=[_dot(tuning, point, slowest, highest) for point in sound],
        limit=tuning.most_latency / slowest * _WIDTH,
        slowest=slowest,
        highest=highest,
        width=_WIDTH,
        height=_HEIGHT,
    )


def _dot(tuning: Tuning, point: Point, slowest: float, highest: float) -> Dot:
    kind = "chosen" if point is tuning.chosen else "present" if point is tuning.present else ""
    label = f"{point.setting}: {point.requests_per_second:,.0f} requests/s, one client {point.single:.2f} ms"
    y = _HEIGHT * (1 - point.requests_per_second / highest)
    return Dot(point.single / slowest * _WIDTH, y, kind, label)
