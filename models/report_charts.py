"""Charts as SVG that takes its colours from the page, so that it is read in light and in dark."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

__all__ = ["Point", "Series", "line_chart", "scatter_chart"]

_WIDTH, _HEIGHT = 460, 280
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 14, 14, 44
_TICKS = 5


@dataclass(frozen=True)
class Series:
    """A line.

    Args:
        name: In the legend.
        xs: Where its points are.
        ys: How high.
    """

    name: str
    xs: Sequence[float]
    ys: Sequence[float]


@dataclass(frozen=True)
class Point:
    """A dot of a cloud.

    Args:
        x: From -1 to 1.
        y: From -1 to 1.
        shade: Which of the page's shades it has, from 0.
        label: Shown when pointed at.
    """

    x: float
    y: float
    shade: int
    label: str


def line_chart(
    series: Sequence[Series], *, name: str, title: str, x_label: str, y_label: str, diagonal: bool = False
) -> Markup:
    """Draw lines with their points.

    Args:
        series: At least one, none empty.
        name: Of the picture's elements, different from other charts' of the page.
        title: What it shows, read to those who don't see it.
        x_label: Below the horizontal axis.
        y_label: Beside the vertical axis.
        diagonal: Whether both axes are alike, and a line shows where they are equal.
    """
    xs = [x for line in series for x in line.xs]
    ys = [y for line in series for y in line.ys]
    if diagonal:
        xs = ys = [*xs, *ys]
    x_ticks, y_ticks = _ticks(xs, whole=not diagonal), _ticks(ys, whole=False)
    frame = _Frame(min(*xs, x_ticks[0]), max(*xs, x_ticks[-1]), min(*ys, y_ticks[0]), max(*ys, y_ticks[-1]))
    parts = [_axes(frame, x_ticks, y_ticks, x_label, y_label)]
    if diagonal:
        (left, top), (right, bottom) = frame.at(frame.left, frame.left), frame.at(frame.right, frame.right)
        parts.append(
            f'<line class="diagonal" x1="{left:.1f}" y1="{top:.1f}" x2="{right:.1f}" y2="{bottom:.1f}"/>'
        )
    for number, line in enumerate(series):
        places = [frame.at(x, y) for x, y in zip(line.xs, line.ys, strict=True)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline class="line s{number}" points="{path}"/>')
        for (x, y), here, value in zip(places, line.xs, line.ys, strict=True):
            told = escape(f"{line.name}: {_number(value)} at {x_label} {_number(here)}")
            parts.append(_dot(f"dot s{number}", x, y, told))
    return _svg(name, title, parts, _HEIGHT)


def scatter_chart(points: Sequence[Point], *, name: str, title: str) -> Markup:
    """Draw a cloud of dots, without axes: only who is near whom says something.

    Args:
        points: The last one lies on top.
        name: Of the picture's elements, different from other charts' of the page.
        title: What it shows, read to those who don't see it.
    """
    margin, scale = 12, (_WIDTH - 24) / 2
    parts = []
    for point in points:
        x, y = margin + (point.x + 1) * scale, margin + (1 - point.y) * scale
        parts.append(_dot(f"shade{point.shade}", x, y, escape(point.label)))
    return _svg(name, title, parts, _WIDTH)


@dataclass(frozen=True)
class _Frame:
    """The values at a chart's borders."""

    left: float
    right: float
    low: float
    high: float

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Give where a value is drawn."""
        across = (x - self.left) / ((self.right - self.left) or 1)
        up = (y - self.low) / ((self.high - self.low) or 1)
        return _LEFT + across * (_WIDTH - _LEFT - _RIGHT), _HEIGHT - _BOTTOM - up * (_HEIGHT - _TOP - _BOTTOM)


def _axes(
    frame: _Frame, x_ticks: Sequence[float], y_ticks: Sequence[float], x_label: str, y_label: str
) -> str:
    parts = []
    for tick in y_ticks:
        y = frame.at(frame.left, tick)[1]
        parts.append(f'<line class="grid" x1="{_LEFT}" y1="{y:.1f}" x2="{_WIDTH - _RIGHT}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{_number(tick)}</text>')
    for tick in x_ticks:
        x = frame.at(tick, frame.low)[0]
        parts.append(
            f'<text x="{x:.1f}" y="{_HEIGHT - _BOTTOM + 18}" text-anchor="middle">{_number(tick)}</text>'
        )
    across, up = (_WIDTH + _LEFT - _RIGHT) / 2, (_HEIGHT + _TOP - _BOTTOM) / 2
    parts.append(f'<text x="{across}" y="{_HEIGHT - 6}" text-anchor="middle">{escape(x_label)}</text>')
    parts.append(
        f'<text x="13" y="{up}" text-anchor="middle" transform="rotate(-90 13 {up})">{escape(y_label)}</text>'
    )
    return "".join(parts)


def _ticks(values: Sequence[float], *, whole: bool) -> list[float]:
    """Give round numbers that lie in the range of the values, and one beyond its ends."""
    low, high = min(values), max(values)
    if low == high:
        return [low]
    rough = (high - low) / _TICKS
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(size * factor for factor in (1, 2, 5, 10) if size * factor >= rough * 0.999)
    if whole:
        step = max(1.0, step)
        return [step * n for n in range(math.ceil(low / step), math.floor(high / step) + 1)]
    return [step * n for n in range(math.floor(low / step), math.ceil(high / step) + 1)]


def _dot(kind: str, x: float, y: float, told: str) -> str:
    return f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="3"><title>{told}</title></circle>'


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == round(value) and abs(value) < 1e9 else f"{value:.4g}"


def _svg(name: str, title: str, parts: Sequence[str], height: int) -> Markup:
    head = f'<svg role="img" aria-labelledby="{escape(name)}-title" viewBox="0 0 {_WIDTH} {height}">'
    return Markup(f'{head}<title id="{escape(name)}-title">{escape(title)}</title>{"".join(parts)}</svg>')
