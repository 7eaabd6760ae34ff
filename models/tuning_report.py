"""A page about a search for settings: how the figure became better, and what it hangs on."""

import io
import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import matplotlib
from jinja2 import Environment, PackageLoader
from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

__all__ = ["render_tuning_report"]

_COLOURS = {"complete": "#1f5fa8", "pruned": "#b9b9b9"}
_COLUMNS = 3


class _Trial(Protocol):
    @property
    def number(self) -> int: ...
    @property
    def state(self) -> str: ...
    @property
    def value(self) -> float | None: ...
    @property
    def settings(self) -> Mapping[str, Any]: ...
    @property
    def error(self) -> str | None: ...


def render_tuning_report(metric: str, mode: str, trials: Sequence[_Trial], best: int) -> str:
    """Give the page's HTML; pictures are inline SVG, nothing is loaded from elsewhere.

    Args:
        metric: The figure that was compared.
        mode: Whether larger (`max`) or smaller (`min`) is better.
        trials: In the order in which they were made.
        best: The number of the best one.
    """
    keys = sorted({key for trial in trials for key in trial.settings})
    ordered = sorted(
        trials, key=lambda trial: (trial.value is None, (trial.value or 0.0) * (-1 if mode == "max" else 1))
    )
    environment = Environment(loader=PackageLoader("torchtowers.models", "."), autoescape=True)
    return environment.get_template("tuning_report.html.jinja").render(
        metric=metric,
        best=best,
        keys=keys,
        trials=ordered,
        history=_history(metric, mode, trials),
        scatters=_scatters(metric, keys, trials),
    )


def _history(metric: str, mode: str, trials: Sequence[_Trial]) -> Markup:
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    axes = figure.subplots()
    for state, colour in _COLOURS.items():
        chosen = [trial for trial in trials if trial.state == state]
        axes.scatter(
            [trial.number for trial in chosen], [_value(trial) for trial in chosen], color=colour, label=state
        )
    done = [trial for trial in trials if trial.state == "complete" and trial.value is not None]
    reached: list[float] = []
    for trial in done:
        best = max if mode == "max" else min
        reached.append(best([_value(trial), *reached[-1:]]))
    axes.step([trial.number for trial in done], reached, where="post", color=_COLOURS["complete"])
    axes.set(xlabel="trial", ylabel=metric)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(frameon=False)
    return _svg(figure)


def _scatters(metric: str, keys: Sequence[str], trials: Sequence[_Trial]) -> Markup:
    if not keys:
        return Markup("")
    rows = -(-len(keys) // _COLUMNS)
    figure = Figure(figsize=(9, 2.6 * rows), layout="constrained")
    grid = figure.subplots(rows, _COLUMNS, squeeze=False).ravel()
    for axes, key in zip(grid, keys, strict=False):
        for state, colour in _COLOURS.items():
            chosen = [trial for trial in trials if trial.state == state and key in trial.settings]
            values = [trial.settings[key] for trial in chosen]
            shown = [value if isinstance(value, int | float) else str(value) for value in values]
            axes.scatter(shown, [_value(trial) for trial in chosen], color=colour, s=14)
        axes.set(xlabel=key, ylabel=metric)
        if shown and all(isinstance(value, int | float) for value in shown):
            axes.xaxis.set_major_locator(MaxNLocator(3))
    for axes in grid[len(keys) :]:
        axes.remove()
    return _svg(figure)


def _value(trial: _Trial) -> float:
    return math.nan if trial.value is None else trial.value


def _svg(figure: Figure) -> Markup:
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
    text = io.StringIO()
    # Without a date and with fixed ids, the same search draws the same page.
    with matplotlib.rc_context({"svg.hashsalt": "torchtowers", "svg.fonttype": "none"}):
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    drawn = text.getvalue()
    return Markup(drawn[drawn.index("<svg") :])
