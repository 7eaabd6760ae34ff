"""A data set with every kind of feature, in the types that Parquet and CSV give."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from tests.tiny import ITEMS, USERS, tiny_config, tiny_tables
from torchtowers.data.tables import Tables
from torchtowers.models.config import RunConfig

USER_FEATURES: dict[str, object] = {
    "user_id": {"kind": "hashed_token", "buckets": 16},
    "city": {"kind": "token", "min_count": 2, "oov_buckets": 3},
    "device": {"kind": "unified_token", "buckets": 50, "hashes": 2},
    "browser": {"kind": "unified_token", "buckets": 50, "hashes": 2},
    "income": {"kind": "number", "transform": "log"},
    "age": {"kind": "number", "transform": "quantiles", "buckets": 4},
    "premium": {"kind": "boolean"},
    "joined": {"kind": "timestamp"},
    "tastes": {"kind": "token_list", "weighted": True, "max_length": 3},
    "history": {"kind": "history", "max_length": 12, "share": "item_id"},
}
ITEM_FEATURES: dict[str, object] = {
    "item_id": {"kind": "token"},
    "title": {"kind": "words", "max_length": 4},
    "genres": {"kind": "token_list", "max_length": 3},
    "main_genre": {"kind": "token", "share": "genres"},
    "year": {"kind": "buckets", "boundaries": [1980, 1995]},
    "price": {"kind": "number"},
    "released": {"kind": "timestamp", "unit": "ms"},
    "picture": {"kind": "vector", "width": 3},
}


def every_kind_config(**sections: dict[str, object]) -> RunConfig:
    """Give a configuration with every kind; sections are replaced as by `tiny_config`."""
    features: dict[str, object] = {"user": USER_FEATURES, "item": ITEM_FEATURES}
    given: dict[str, dict[str, object]] = {"features": features, "training": {"epochs": 1}}
    return tiny_config(**(given | sections))


def every_kind_tables() -> Tables:
    """Add columns to the tiny data set: with nulls, rare values, lists in columns of text, and dates."""
    generator = np.random.default_rng(5)
    tables, start = tiny_tables(), datetime(2020, 1, 1, tzinfo=UTC)
    genres = ["Comedy", "Drama", "Film-Noir", "Sci-Fi"]
    users = tables.users.with_columns(
        city=pl.Series([None if user == 3 else f"city {user % 7}" for user in range(USERS)]),
        device=pl.Series([f"phone {user % 5}" for user in range(USERS)]),
        browser=pl.Series([f"phone {user % 3}" for user in range(USERS)]),
        income=pl.Series([None if user == 8 else float(user**4) for user in range(USERS)]),
        premium=pl.Series([None if user == 9 else user % 3 == 0 for user in range(USERS)]),
        joined=pl.Series(
            [None if user == 1 else start + timedelta(hours=41 * user) for user in range(USERS)]
        ),
        tastes=pl.Series(
            [None if user == 2 else f"{genres[user % 4]}:0.{user}|rock:{user - 9}" for user in range(USERS)]
        ),
    )
    items = tables.items.with_columns(
        main_genre=pl.Series([genres[item % 4] for item in range(ITEMS)]),
        price=pl.Series([None if item == 7 else item / 3 for item in range(ITEMS)]),
        released=pl.Series([1_500_000_000_000 + item * 86_400_123 for item in range(ITEMS)]),
        picture=pl.Series(
            [
                None if item == 4 else row.tolist()
                for item, row in enumerate(generator.normal(size=(ITEMS, 3)))
            ]
        ),
    )
    return replace(tables, users=users, items=items)


def write_csv(tables: Tables, folder: Path) -> None:
    """Write the tables as CSV, lists as JSON."""
    for name in ("interactions", "users", "items"):
        table = getattr(tables, name)
        lists = [
            pl.col(column).map_elements(
                lambda row: str(row.to_list()).replace("'", '"'), return_dtype=pl.String
            )
            for column, kind in table.schema.items()
            if kind == pl.List
        ]
        table.with_columns(lists).write_csv(folder / f"{name}.csv")
