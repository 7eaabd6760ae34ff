"""report.html: what a run learned and how good it is, in one self-contained page."""

from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from torchtowers.models.catalogue_map import SHADES
from torchtowers.models.config import RunConfig
from torchtowers.models.report_charts import Series, line_chart, scatter_chart
from torchtowers.models.report_content import ReportContent
from torchtowers.models.report_figures import bar_charts, figure_name, figures_table, group_bars
from torchtowers.models.run import Run

__all__ = ["render_report"]

_GROUPS = {
    "user_activity": ("By the user's activity", "interactions of the user in training"),
    "item_popularity": ("By the item's popularity", "interactions of the item in training"),
}
_LINES = 4


def render_report(
    run: Run, config: RunConfig, metrics: Mapping[str, Any], content: ReportContent | None = None
) -> str:
    """Give the page's HTML; nothing is loaded from elsewhere, and it has no script.

    Args:
        run: For its name and its history.
        config: Shown in full.
        metrics: As in metrics.json.
        content: Examples and the map of the catalogue; the page is without them if it is not given.
    """
    environment = Environment(
        loader=PackageLoader("torchtowers.models", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    test, baselines = metrics["test"], metrics["baselines"]
    included = figures_table(test, baselines, seen_included=True)
    return environment.get_template("report.html.jinja").render(
        title=run.folder.resolve().name,
        kind=config.model.kind.replace("_", "-"),
        data=metrics["data"],
        dropped={reason: count for reason, count in metrics.get("dropped", {}).items() if count},
        warnings=metrics.get("warnings", ()),
        versions=metrics["versions"],
        figures=figures_table(test, baselines),
        included=included if included.rows else None,
        validation=figures_table(metrics["validation"], {}) if metrics.get("validation") else None,
        bars=bar_charts(test, baselines),
        groups=_groups(metrics.get("groups", {})),
        calibration=_calibration(metrics.get("calibration_curve", ())),
        curve=metrics.get("calibration_curve", ()),
        curves=_curves(run),
        history=[(name, _history_table(entries)) for name, entries in _histories(run)],
        examples=content.examples if content else (),
        map=content.map if content else None,
        drawn_map=_map(content) if content else None,
        shades=range(SHADES),
        settings=config.to_yaml(),
    )


def _groups(groups: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    drawn = []
    for key, members in groups.items():
        title, counted = _GROUPS[key]
        names = list(members[0]["figures"])
        shown = next((name for name in names if name.startswith("ndcg@")), names[0])
        drawn.append(
            {
                "title": title,
                "counted": counted,
                "figure": figure_name(shown),
                "bars": group_bars(members, shown),
                "names": [figure_name(name) for name in names],
                "members": members,
            }
        )
    return drawn


def _calibration(curve: Sequence[Mapping[str, float]]) -> Markup | None:
    if not curve:
        return None
    line = Series("mean label", [b["predicted"] for b in curve], [b["observed"] for b in curve])
    return line_chart(
        [line],
        name="calibration",
        title="Mean label over mean prediction, in groups of as many predictions; the dashed line is where "
        "both are equal",
        x_label="mean prediction",
        y_label="mean label",
        diagonal=True,
    )


def _histories(run: Run) -> list[tuple[str, list[dict[str, Any]]]]:
    """Give the epochs of the run, and before them those that chose their number."""
    final = run.history()
    selection = run.selection.history()
    if selection:
        return [("choosing the epochs", selection), ("final training", final)]
    return [("training", final)]


def _curves(run: Run) -> list[tuple[str, list[str], Markup]]:
    """Draw the loss by epoch, and validation figures where there are some, with their lines' names."""
    histories = [(name, entries) for name, entries in _histories(run) if entries]
    drawn = []
    losses = [
        Series(name, [entry["epoch"] for entry in entries], [entry["loss"] for entry in entries])
        for name, entries in histories
    ]
    if losses:
        drawn.append(
            (
                "Training loss",
                [line.name for line in losses],
                line_chart(
                    losses, name="loss", title="Training loss by epoch", x_label="epoch", y_label="loss"
                ),
            )
        )
    for name in _validation_figures(histories):
        lines = [
            Series(
                phase,
                [entry["epoch"] for entry in entries if entry.get(name) is not None],
                [entry[name] for entry in entries if entry.get(name) is not None],
            )
            for phase, entries in histories
        ]
        lines = [line for line in lines if line.xs]
        said = figure_name(name.removeprefix("validation/"))
        drawn.append(
            (
                f"Validation {said}",
                [line.name for line in lines],
                line_chart(
                    lines,
                    name=f"curve-{len(drawn)}",
                    title=f"{said} on the validation part by epoch",
                    x_label="epoch",
                    y_label=said,
                ),
            )
        )
    return drawn


def _validation_figures(histories: Sequence[tuple[str, Sequence[Mapping[str, Any]]]]) -> list[str]:
    """Choose the figures that say most."""
    names = [
        name
        for _, entries in histories
        for name in entries[-1]
        if name.startswith("validation/") and not name.endswith("/seen_included")
    ]
    telling = ("ndcg@", "recall@", "top_100", "loss", "rmse", "auc", "per_user_auc", "normalized_entropy")
    chosen = [name for stem in telling for name in names if name.removeprefix("validation/").startswith(stem)]
    return list(dict.fromkeys(chosen or names))[: _LINES - 1]


def _history_table(entries: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Give all figures of all epochs."""
    names = list(dict.fromkeys(name for entry in entries for name in entry if not name.endswith("_included")))
    return names, [[_cell(entry.get(name)) for name in names] for entry in entries]


def _cell(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else "" if value is None else str(value)


def _map(content: ReportContent) -> Markup | None:
    if content.map is None:
        return None
    return scatter_chart(
        content.map.points,
        name="map",
        title="The items' embeddings in the two directions in which they differ most, "
        "shaded by the number of interactions in training",
    )
