"""A run's figures as a report shows them: beside the baselines, the best of each marked."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Bar", "BarChart", "Table", "bar_charts", "figure_name", "figures_table", "group_bars"]

_INCLUDED = "/seen_included"
_SMALLER_IS_BETTER = ("rmse", "mae", "normalized_entropy", "log_loss")
# Coverage says what a model is like, not how good it is.
_NEITHER = ("coverage",)
# What is drawn, in this order, as far as it was measured.
_DRAWN = (
    "recall",
    "ndcg",
    "hit_rate",
    "top",
    "rmse",
    "mae",
    "auc",
    "per_user_auc",
    "normalized_entropy",
)
_NAMES = {
    "ndcg": "NDCG",
    "mrr": "MRR",
    "map": "MAP",
    "hit_rate": "Hit rate",
    "auc": "AUC",
    "per_user_auc": "AUC per user",
    "rmse": "RMSE",
    "mae": "Mean absolute error",
    "item_knn": "item-kNN",
    "ease": "EASE",
    "bias": "bias model",
}


@dataclass(frozen=True)
class Table:
    """Figures by name and by whose they are.

    Args:
        header: Whose.
        rows: A figure's name, and for each column the number as text and whether it is the best.
    """

    header: list[str]
    rows: list[tuple[str, list[tuple[str, bool]]]]


@dataclass(frozen=True)
class Bar:
    """One bar.

    Args:
        name: Whose.
        value: How long.
        width: Of the longest, in percent.
        is_ours: Whether it is the run's own.
    """

    name: str
    value: float
    width: float
    is_ours: bool


@dataclass(frozen=True)
class BarChart:
    """Bars of one figure.

    Args:
        title: The figure's name.
        note: Which direction is better.
        bars: The model's, then others.
    """

    title: str
    note: str
    bars: list[Bar]


def figure_name(name: str) -> str:
    """Give a figure or a baseline as it is said.

    Example:
        >>> figure_name("ndcg@10"), figure_name("top_100_accuracy"), figure_name("item_knn")
        ('NDCG@10', 'Top-100 accuracy', 'item-kNN')
    """
    if name.startswith("top_"):
        return f"Top-{name.split('_')[1]} accuracy"
    stem, at, k = name.partition("@")
    said = _NAMES.get(stem) or stem.replace("_", " ").capitalize()
    return f"{said}{at}{k}"


def figures_table(
    test: Mapping[str, float], baselines: Mapping[str, Mapping[str, float]], *, seen_included: bool = False
) -> Table:
    """Put the model's figures beside the baselines'.

    Args:
        test: The model's.
        baselines: Theirs.
        seen_included: Whether those are taken that count seen items in.
    """
    suffix = _INCLUDED if seen_included else ""
    columns = [test, *baselines.values()]
    rows = []
    for name in test:
        if name.endswith(_INCLUDED) != seen_included:
            continue
        values = [column.get(name) for column in columns]
        best = _best(name, [value for value in values if value is not None])
        cells = [
            ("" if value is None else f"{value:.4f}", value is not None and value == best) for value in values
        ]
        rows.append((figure_name(name.removesuffix(suffix)), cells))
    return Table(["Model", *(_heading(name) for name in baselines)], rows)


def bar_charts(test: Mapping[str, float], baselines: Mapping[str, Mapping[str, float]]) -> list[BarChart]:
    """Draw the main figures of a model beside the baselines'; of each kind that with the largest k."""
    charts = []
    for kind in _DRAWN:
        names = [name for name in test if _kind(name) == kind and "/" not in name]
        if not names:
            continue
        name = max(names, key=_k)
        values = {"Model": test[name]}
        values |= {_heading(other): figures[name] for other, figures in baselines.items() if name in figures}
        charts.append(
            BarChart(
                figure_name(name),
                "less is better" if kind in _SMALLER_IS_BETTER else "more is better",
                _bars(values, ours=("Model",)),
            )
        )
    return charts


def group_bars(groups: Sequence[Mapping[str, object]], name: str) -> list[Bar]:
    """Draw one figure of the model for several groups of interactions."""
    values = {str(group["label"]): float(group["figures"][name]) for group in groups}  # type: ignore[index]
    return _bars(values, ours=tuple(values))


def _bars(values: Mapping[str, float], ours: Sequence[str]) -> list[Bar]:
    longest = max((abs(value) for value in values.values()), default=0) or 1
    return [Bar(name, value, 100 * abs(value) / longest, name in ours) for name, value in values.items()]


def _best(name: str, values: Sequence[float]) -> float:
    kind = _kind(name)
    if kind in _NEITHER or len(values) < 2:
        return math.nan
    if kind == "calibration":
        return min(values, key=lambda value: abs(value - 1))
    return min(values) if kind in _SMALLER_IS_BETTER else max(values)


def _kind(name: str) -> str:
    return "top" if name.startswith("top_") else name.partition("/")[0].partition("@")[0]


def _k(name: str) -> int:
    digits = name.split("_")[1] if name.startswith("top_") else name.partition("@")[2]
    return int(digits) if digits.isdigit() else 0


def _heading(name: str) -> str:
    said = figure_name(name)
    return said[0].upper() + said[1:]
