"""A data set, a configuration and a trained model small enough for every test; real in all but their size."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import torch

from torchtowers.data.batches import Batches
from torchtowers.data.dataset import prepare
from torchtowers.data.tables import Tables
from torchtowers.models.config import RunConfig, parse_config
from torchtowers.models.experiment import Trained, build_model, train
from torchtowers.models.run import Run
from torchtowers.models.training import fit

USERS = 40
ITEMS = 60

CONFIG: dict[str, object] = {
    "data": {"dataset": "movielens-100k", "columns": ["title", "year", "genres"]},
    "split": {"kind": "random", "test_fraction": 0.2, "seed": 42},
    "features": {
        "user": {
            "user_id": {"kind": "token"},
            "age": {"kind": "buckets", "boundaries": [18, 30, 50]},
            "gender": {"kind": "token"},
            "history": {"kind": "history", "max_length": 12},
        },
        "item": {
            "item_id": {"kind": "token"},
            "title": {"kind": "words", "vocabulary": True, "max_length": 4},
            "genres": {"kind": "token_list", "max_length": 3},
            "year": {"kind": "buckets", "boundaries": [1980, 1995]},
        },
    },
    "model": {
        "embedding_dim": 8,
        "query_hidden": [16],
        "dim": 8,
        "pooling": "sqrtn",
        "dropout": 0.1,
        "unknown_rate": 0.1,
        "history_dropout": 0.2,
        "empty_history_rate": 0.1,
        "temperature": 0.2,
    },
    "training": {"epochs": 3, "batch_size": 64, "seed": 7, "warmup": 0.1, "final_learning_rate": 0.1},
}

SHOP = """
data: {interactions: interactions.csv, items: items.parquet, columns: [title]}
split: {kind: random, test_fraction: 0.2, seed: 1}
features:
  user: {user_id: {kind: token}, history: {kind: history, max_length: 9}}
  item: {item_id: {kind: token}, title: {kind: words}}
model: {kind: two_tower, dim: 8, embedding_dim: 8}
"""
"""A configuration of the files that `write_shop` writes, but for its training."""


def tiny_config(**sections: dict[str, object]) -> RunConfig:
    """Give the configuration, with the given keys of a section replaced: `training={"epochs": 1}`."""
    content = {name: dict(section) for name, section in CONFIG.items()}  # type: ignore[call-overload]
    for name, values in sections.items():
        content.setdefault(name, {}).update(values)
    return parse_config(content)


def tiny_tables() -> Tables:
    """Make users who prefer half of the items, with every kind of column, a null and words beyond ASCII."""
    generator = np.random.default_rng(3)
    pairs = [
        (user, item)
        for user in range(USERS)
        for item in generator.choice(ITEMS, 28, replace=False)
        if (user + item) % 2 == 0
    ]
    start = int(datetime(2020, 1, 1, tzinfo=UTC).timestamp())
    genres = ["Comedy", "Drama", "Film-Noir", "Sci-Fi"]
    return Tables(
        interactions=pl.DataFrame(
            {
                "user_id": [f"u{user}" for user, _ in pairs],
                "item_id": [str(100 + item) for _, item in pairs],
                "rating": [float(1 + (user * item) % 5) for user, item in pairs],
                "timestamp": [start + int(offset) for offset in generator.integers(0, 10**6, len(pairs))],
            }
        ),
        users=pl.DataFrame(
            {
                "user_id": [f"u{user}" for user in range(USERS)],
                "age": [10 + user for user in range(USERS)],
                "gender": ["F" if user % 3 else "M" for user in range(USERS)],
            }
        ),
        items=pl.DataFrame(
            {
                "item_id": [str(100 + item) for item in range(ITEMS)],
                "title": [f"Misérables «{item}» the {genres[item % 4]}" for item in range(ITEMS)],
                "year": [None if item == 5 else 1970 + item for item in range(ITEMS)],
                "genres": [[genres[item % 4], genres[(item + 1) % 4]] for item in range(ITEMS)],
            }
        ),
    )


def tiny_trained(folder: Path, config: RunConfig | None = None) -> Trained:
    """Train for a few epochs into `folder`."""
    config = config or tiny_config()
    dataset = prepare(tiny_tables(), config.data, config.split, config.features)
    torch.manual_seed(config.training.seed)
    model = build_model(config, dataset)
    run = Run(folder)
    run.begin(config, dataset.fitted)
    batches = Batches(dataset, config.training.batch_size, config.training.seed)
    progress = fit(model, batches, config.training, run, show_progress=False)
    return Trained(run, config, dataset, model, progress.interrupted)


def tiny_ranking_config(**model: object) -> RunConfig:
    """Give the configuration of a ranking model, with the hour and with who had an item, by its settings."""
    content = {name: dict(section) for name, section in CONFIG.items()}  # type: ignore[call-overload]
    features = content["features"]
    features["context"] = {"hour": {"kind": "buckets", "boundaries": [6, 12, 18]}}
    features["item"] = {**features["item"], "fans": {"kind": "history", "max_length": 9, "minimum_rating": 3}}
    content["model"] = {"kind": "ranking", "embedding_dim": 4, "hidden": [16], "unknown_rate": 0.1, **model}
    return parse_config(content)


def tiny_ranking_tables() -> Tables:
    """Give the tables with the hour of each interaction."""
    tables = tiny_tables()
    hours = (pl.int_range(pl.len()) * 7 % 24).alias("hour")
    return Tables(tables.interactions.with_columns(hours), tables.users, tables.items)


def tiny_ranking_trained(folder: Path, config: RunConfig | None = None) -> Trained:
    """Train a ranking model for a few epochs into `folder`."""
    return train(config or tiny_ranking_config(), folder, tables=tiny_ranking_tables())
