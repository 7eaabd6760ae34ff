#!/usr/bin/env python
"""Measure the shipped ranking recipes on MovieLens 100K by five-fold cross-validation.

The folds are random, by one seed; a round goes through all five with another seed of the model. Of each
fold's training part a tenth chooses the number of epochs, as the recipe says, and the model is then trained
anew on all of it. Beside it stands the bias model, fitted on the same training parts.

    benchmarks/ranking_quality.py                       both recipes, 3 rounds; some forty minutes
    benchmarks/ranking_quality.py --work clicks --rounds 1
    benchmarks/ranking_quality.py --json > ranking_quality.json
"""

from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl
from side import HERE
from table import Figures, print_table

from torchtowers.data.named import load_tables
from torchtowers.data.tables import Tables
from torchtowers.models.config import RunConfig, load_config
from torchtowers.models.experiment import train

_FOLDS = 5
_HELD_OUT = 0.1
_SEED = 0


@dataclass(frozen=True)
class Work:
    """A row of the table.

    Args:
        title: What is done.
        recipe: The configuration's file, in configs/.
        figures: Those of metrics.json that are shown.
        wanted: What they should be, at most for `rmse` and at least for others.
    """

    title: str
    recipe: str
    figures: tuple[str, ...]
    wanted: tuple[float, ...]


WORKS = {
    "ratings": Work("ratings", "ranking-ratings.yaml", ("rmse",), (0.915,)),
    "clicks": Work(
        "ratings of 4 or 5 as clicks", "ranking-clicks.yaml", ("auc", "per_user_auc"), (0.80, 0.74)
    ),
}


def folds_of(rows: int) -> list[pl.Series]:
    """Say for each fold which part every row is in."""
    order = np.random.default_rng(_SEED).permutation(rows)
    columns = []
    for test in np.array_split(order, _FOLDS):
        part = np.full(rows, "train", dtype=object)
        rest = order[~np.isin(order, test)]
        part[rest[: round(len(rest) * _HELD_OUT)]] = "validation"
        part[test] = "test"
        columns.append(pl.Series("part", part.astype(str)))
    return columns


def of_folds(recipe: str) -> RunConfig:
    """Give a recipe whose split is a column's; it is as random as the recipe's own, so histories show all."""
    path = HERE.parent / "configs" / recipe
    features = load_config(path).features
    histories = [
        f"features.{side}.{name}.order=others"
        for side, given in (("user", features.user), ("item", features.item))
        for name, feature in given.items()
        if feature.kind == "history"
    ]
    return load_config(path, ["split={kind: column, column: part}", *histories])


def measure(name: str, rounds: int) -> Figures:
    """Train and measure a recipe on every fold."""
    work, config = WORKS[name], of_folds(WORKS[name].recipe)
    tables = load_tables(config.data, config.split, lambda _: None)
    found: dict[str, list[list[float]]] = {figure: [] for figure in work.figures}
    bias: dict[str, list[float]] = {figure: [] for figure in work.figures}
    for seed in range(1, rounds + 1):
        seeded = config.model_copy(update={"training": config.training.model_copy(update={"seed": seed})})
        measured = [_on_fold(seeded, tables, parts) for parts in folds_of(tables.interactions.height)]
        for figure in work.figures:
            found[figure].append([metrics["test"][figure] for metrics in measured])
            bias[figure] = [metrics["baselines"]["bias"][figure] for metrics in measured]
    return {
        "work": name,
        "title": work.title,
        "figures": {
            figure: {"mean": float(np.mean(found[figure])), "bias": mean(bias[figure]), "wanted": wanted}
            for figure, wanted in zip(work.figures, work.wanted, strict=True)
        },
        "by_seed_and_fold": found,
    }


def _on_fold(config: RunConfig, tables: Tables, parts: pl.Series) -> Figures:
    divided = replace(tables, interactions=tables.interactions.with_columns(parts))
    with TemporaryDirectory() as folder:
        return train(config, Path(folder) / "run", tables=divided).run.metrics()


def row(measured: Figures) -> str:
    """Format a line of the table for each figure."""
    return "\n".join(
        f"| {measured['title']} | {name} | {figure['mean']:.4f} | {figure['bias']:.4f} "
        f"| {figure['wanted']:.3f} |"
        for name, figure in measured["figures"].items()
    )


if __name__ == "__main__":
    print_table(__doc__, WORKS, "| labels | figure | ours | bias model | to reach |", measure, row, rounds=3)
