#!/usr/bin/env python
"""Measure the shipped recipes on MovieLens 100K, beside a baseline that is fitted on the same training part.

A round is a training with another seed of the model, 1 for the first; the split stays the same. Each recipe
chooses the number of epochs on a validation part of the training interactions, and is then trained anew on
all of them. Ranking recipes go through five folds a round.

    benchmarks/quality.py                               all works, 3 rounds; some two hours on one core
    benchmarks/quality.py --work per_user --work random --work leave_last_out
    benchmarks/quality.py --work ratings --work clicks --rounds 1
    benchmarks/quality.py --json > quality.json
"""

import time
from collections.abc import Iterator, Mapping
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
    """A recipe on one split, or on folds; each figure is a row of the table.

    Args:
        title: How the interactions are divided.
        recipe: The configuration's file, in configs/.
        wanted: By name in metrics.json, what each figure should be: at most for `rmse`, at least for others.
        baseline: What stands beside it.
        split: In place of the recipe's own.
        folds: Whether the split is five random folds.
    """

    title: str
    recipe: str
    wanted: Mapping[str, float]
    baseline: str
    split: str | None = None
    folds: bool = False


_AT_10 = {"recall@10": 0.285, "ndcg@10": 0.355}
_ACCURACY = {"top_100_accuracy/seen_included": 0.37, "top_100_accuracy": 0.64}
_RANDOM = "{kind: random, test_fraction: 0.2, validation_fraction: 0.1, seed: 42}"

WORKS = {
    "per_user": Work("per user 8:1:1", "retrieval.yaml", _AT_10, baseline="ease"),
    "per_user_features": Work("per user 8:1:1", "retrieval-features.yaml", _AT_10, baseline="ease"),
    "random": Work("random 80/20", "retrieval.yaml", _ACCURACY, baseline="ease", split=_RANDOM),
    "random_features": Work(
        "random 80/20", "retrieval-features.yaml", _ACCURACY, baseline="ease", split=_RANDOM
    ),
    "leave_last_out": Work(
        "each user's last", "sequential.yaml", {"hit_rate@10": 0.22, "ndcg@10": 0.115}, baseline="ease"
    ),
    "ratings": Work("ratings, five folds", "ranking-ratings.yaml", {"rmse": 0.915}, "bias", folds=True),
    "clicks": Work(
        "ratings of 4 or 5 as clicks, five folds",
        "ranking-clicks.yaml",
        {"auc": 0.80, "per_user_auc": 0.74},
        baseline="bias",
        folds=True,
    ),
}


def configured(work: Work, overrides: tuple[str, ...] = ()) -> RunConfig:
    """Give a work's configuration; that of folds reads them from a column."""
    path = HERE.parent / "configs" / work.recipe
    if work.split is not None:
        overrides = (f"split={work.split}", *overrides)
    if work.folds:
        features = load_config(path).features
        # A column says nothing of time; it is as random as the recipe's own split, so histories show all.
        histories = [
            f"features.{side}.{name}.order=others"
            for side, given in (("user", features.user), ("item", features.item))
            for name, feature in given.items()
            if feature.kind == "history"
        ]
        overrides = ("split={kind: column, column: part}", *histories, *overrides)
    return load_config(path, overrides)


def parts_of(work: Work, tables: Tables) -> Iterator[Tables]:
    """Give the tables as they are, or for each fold with the part that every interaction is in."""
    if not work.folds:
        yield tables
        return
    interactions = tables.interactions.lazy().collect()
    order = np.random.default_rng(_SEED).permutation(interactions.height)
    for test in np.array_split(order, _FOLDS):
        part = np.full(len(order), "train", dtype=object)
        rest = order[~np.isin(order, test)]
        part[rest[: round(len(rest) * _HELD_OUT)]] = "validation"
        part[test] = "test"
        yield replace(tables, interactions=interactions.with_columns(pl.Series("part", part.astype(str))))


def measure_on(tables: Tables, name: str, config: RunConfig, rounds: int) -> Figures:
    """Train and measure a work on tables."""
    work = WORKS[name]
    found: dict[str, list[list[float]]] = {figure: [] for figure in work.wanted}
    minutes: list[float] = []
    for seed in range(1, rounds + 1):
        seeded = config.model_copy(update={"training": config.training.model_copy(update={"seed": seed})})
        started = time.perf_counter()
        measured = [_trained(seeded, part) for part in parts_of(work, tables)]
        minutes.append((time.perf_counter() - started) / 60)
        for figure, values in found.items():
            values.append([metrics["test"][figure] for metrics in measured])
    # The baselines have no seed: each round's are the same.
    baseline = {figure: [m["baselines"][work.baseline][figure] for m in measured] for figure in work.wanted}
    return {
        "work": name,
        "title": work.title,
        "recipe": work.recipe,
        "baseline": work.baseline,
        "figures": {
            figure: {
                "mean": float(np.mean(found[figure])),
                "baseline": mean(baseline[figure]),
                "wanted": wanted,
            }
            for figure, wanted in work.wanted.items()
        },
        "by_seed": found,
        "minutes": minutes,
    }


def _trained(config: RunConfig, tables: Tables) -> Figures:
    with TemporaryDirectory() as folder:
        return train(config, Path(folder) / "run", tables=tables).run.metrics()


def measure(name: str, rounds: int) -> Figures:
    """Train and measure a work on MovieLens 100K."""
    config = configured(WORKS[name])
    tables = load_tables(config.data, config.split, lambda _: None)
    return measure_on(tables, name, config, rounds)


def row(measured: Figures) -> str:
    """Format a line of the table for each figure."""
    return "\n".join(
        f"| {measured['title']} | {measured['recipe']} | {name} | {figure['mean']:.4f} "
        f"| {figure['baseline']:.4f} ({measured['baseline']}) | {figure['wanted']:.3f} "
        f"| {mean(measured['minutes']):.0f} |"
        for name, figure in measured["figures"].items()
    )


HEADER = "| split | recipe | figure | ours | baseline | to reach | minutes a round |"

if __name__ == "__main__":
    print_table(__doc__, WORKS, HEADER, measure, row, rounds=3)
