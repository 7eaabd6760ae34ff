"""report.html: a run's curves and comparisons in one self-contained page."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
from jinja2 import Environment, PackageLoader
from matplotlib.figure import Figure

from torchtowers.models.config import RunConfig
from torchtowers.models.run import Run

__all__ = ["render_report"]

_OURS = "#1f5fa8"
_FLOOR = "#b9b9b9"


def render_report(run: Run, config: RunConfig, metrics: Mapping[str, Any]) -> str:
    """Give the page's HTML; images are inline SVG, nothing is loaded from elsewhere.

    Args:
        run: For its name and its history.
        config: Shown in full.
        metrics: As in metrics.json.
    """
    environment = Environment(loader=PackageLoader("torchtowers.models", "."), autoescape=True)
    test, floor = metrics["test"], metrics["baselines"]["popularity"]
    names = [name for name in test if not name.endswith("/seen_included")]
    rows = [
        (name, test[name], floor[name], test[f"{name}/seen_included"], floor[f"{name}/seen_included"])
        for name in names
    ]
    return environment.get_template("report.html.jinja").render(
        title=run.folder.name,
        data=metrics["data"],
        versions=metrics["versions"],
        rows=rows,
        curves=_curves(run.history()),
        bars=_bars(names, test, floor),
        config=config.to_yaml(),
    )


def _curves(history: Sequence[Mapping[str, Any]]) -> str:
    """Draw the loss by epoch, and validation figures where there are some."""
    epochs = [entry["epoch"] for entry in history]
    validation = [name for name in (history[-1] if history else {}) if name.startswith("validation/top_100")]
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    axes = figure.subplots(1, 1 + bool(validation), squeeze=False)[0]
    axes[0].plot(epochs, [entry["loss"] for entry in history], marker="o", color=_OURS)
    axes[0].set(title="Training loss", xlabel="epoch", ylabel="in-batch softmax, mean")
    if validation:
        for name in validation:
            values = [entry.get(name) for entry in history]
            axes[1].plot(epochs, values, marker="o", label=name.removeprefix("validation/"))
        axes[1].set(title="Validation", xlabel="epoch")
        axes[1].legend(frameon=False)
    return _svg(figure)


def _bars(names: Sequence[str], test: Mapping[str, float], floor: Mapping[str, float]) -> str:
    """Draw the model beside popularity, seen items excluded and included."""
    figure = Figure(figsize=(9, 0.5 + 0.42 * len(names)), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    places = range(len(names))
    for ax, suffix, title in zip(
        axes, ("", "/seen_included"), ("Seen excluded", "Seen included"), strict=True
    ):
        ours = [test[name + suffix] for name in names]
        theirs = [floor[name + suffix] for name in names]
        ax.barh([place - 0.2 for place in places], ours, 0.4, color=_OURS, label="model")
        ax.barh([place + 0.2 for place in places], theirs, 0.4, color=_FLOOR, label="popularity")
        ax.set(title=title, yticks=list(places), yticklabels=names)
    axes[0].invert_yaxis()
    axes[0].legend(frameon=False, loc="lower right")
    return _svg(figure)


def _svg(figure: Figure) -> str:
    for ax in figure.axes:
        ax.spines[["top", "right"]].set_visible(False)
    text = io.StringIO()
    # Without a date and with fixed ids, the same run draws the same page.

    with matplotlib.rc_context({"svg.hashsalt": "torchtowers", "svg.fonttype": "none"}):
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    drawn = text.getvalue()
    return drawn[drawn.index("<svg") :]
