"""A made-up shop: users, products and ratings with a column of every kind, to try things on."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from torchtowers.data.tables import Tables

__all__ = ["make_shop", "write_shop"]

_COUNTRIES = ["AT", "BR", "CH", "DE", "FR", "JP", "US"]
_CATEGORIES = ["books", "garden", "kitchen", "music", "outdoor", "toys"]
_TAGS = ["blue", "cheap", "gift", "large", "light", "new", "red", "small", "strong", "used"]
_ADJECTIVES = ["bright", "classic", "folding", "gentle", "little", "modern", "quiet", "sturdy"]
_NOUNS = ["basket", "chair", "drum", "kettle", "lamp", "novel", "puzzle", "rope", "spade", "tent"]
_DEVICES = ["desktop", "phone", "tablet"]
_START = int(datetime(2024, 1, 1, tzinfo=UTC).timestamp())
_YEAR = 365 * 86_400
_WIDTH = 6


def make_shop(rows: int = 200_000, *, users: int = 4_000, items: int = 1_500, seed: int = 0) -> Tables:
    """Make a shop whose users rate what is near to their taste higher, and buy it more often.

    Args:
        rows: Interactions; each user has at least one, and none has an item twice, so at least `users` and at
            most a quarter of `users * items`.
        users: Number of users.
        items: Number of items.
        seed: Of all that is drawn.

    Returns:
        Users with an id, a number, categories, a truth value and a time; items with an id, a text,
        categories, a price, a weight in kg, a list, a weighted list, a vector and a time; interactions with a
        rating, a time and a device.

    Raises:
        ValueError: There are not enough pairs for so many rows, or fewer rows than users.
    """
    if rows < users:
        raise ValueError(f"{rows} rows are fewer than {users} users, each of whom has at least one")
    if rows > users * items // 4:
        raise ValueError(f"{rows} rows are more than a quarter of {users} users times {items} items")
    draw = np.random.default_rng(seed)
    kinds = draw.integers(0, len(_CATEGORIES), items)
    item_taste = draw.normal(size=(items, _WIDTH)) * 0.6 + np.eye(_WIDTH)[kinds] * 2
    favourite = draw.integers(0, len(_CATEGORIES), users)
    user_taste = draw.normal(size=(users, _WIDTH)) * 0.6 + np.eye(_WIDTH)[favourite] * 2
    user, item = _pairs(draw, rows, user_taste, item_taste)
    liking = (user_taste[user] * item_taste[item]).sum(1) / _WIDTH + draw.normal(size=rows) * 0.5
    quality = draw.normal(size=items) * 0.5
    rating = np.clip(np.rint(3 + liking + quality[item]), 1, 5)
    time = np.sort(_START + draw.integers(0, _YEAR, rows))
    ids = _ids("u", users), _ids("p", items)
    return Tables(
        pl.DataFrame(
            {
                "user_id": ids[0][user],
                "item_id": ids[1][item],
                "rating": rating,
                "timestamp": time,
                "device": np.array(_DEVICES)[draw.integers(0, len(_DEVICES), rows)],
            }
        ),
        _users(draw, ids[0], favourite),
        _items(draw, ids[1], kinds, item_taste),
    )


def write_shop(folder: str | Path, tables: Tables) -> None:
    """Write `interactions.csv`, `users.csv` and `items.parquet` into a folder, which is made if needed."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tables.interactions.lazy().collect().write_csv(folder / "interactions.csv")
    tables.users.write_csv(folder / "users.csv")
    tables.items.write_parquet(folder / "items.parquet")


def _pairs(
    draw: np.random.Generator,
    rows: int,
    user_taste: NDArray[np.float64],
    item_taste: NDArray[np.float64],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Draw pairs without repetition, near ones and popular items more often."""
    users, items = len(user_taste), len(item_taste)
    popularity = draw.normal(size=items)
    activity = draw.exponential(size=users) + 0.2
    counts = np.maximum(np.rint(activity / activity.sum() * rows).astype(np.int64), 1)
    counts = np.minimum(counts, items // 2)
    while (rest := rows - int(counts.sum())) != 0:
        # The rounding's rest goes to, or comes from, users drawn at random.
        open_ = np.flatnonzero(counts < items // 2 if rest > 0 else counts > 1)
        chosen = draw.choice(open_, min(abs(rest), len(open_)), replace=False)
        counts[chosen] += np.sign(rest)
    chosen_items = []
    for user in range(users):
        score = user_taste[user] @ item_taste.T * 0.7 + popularity + draw.gumbel(size=items)
        chosen_items.append(np.argpartition(-score, counts[user] - 1)[: counts[user]])
    order = draw.permutation(rows)
    return np.repeat(np.arange(users), counts)[order], np.concatenate(chosen_items)[order]


def _users(draw: np.random.Generator, ids: NDArray[np.str_], favourite: NDArray[np.int64]) -> pl.DataFrame:
    count = len(ids)
    age = draw.integers(16, 80, count) // 2 + favourite * 5
    unknown = draw.random(count) < 0.05
    return pl.DataFrame(
        {
            "user_id": ids,
            "age": [None if missing else int(years) for missing, years in zip(unknown, age, strict=True)],
            "country": np.array(_COUNTRIES)[draw.integers(0, len(_COUNTRIES), count)],
            "member": draw.random(count) < 0.3,
            "signed_up": _START - draw.integers(0, 3 * _YEAR, count),
            "city": _ids("city", 250)[draw.integers(0, 250, count)],
        }
    )


def _items(
    draw: np.random.Generator,
    ids: NDArray[np.str_],
    kinds: NDArray[np.int64],
    taste: NDArray[np.float64],
) -> pl.DataFrame:
    count = len(ids)
    tags = [draw.choice(_TAGS, draw.integers(0, 4), replace=False).tolist() for _ in range(count)]
    weighted = [
        [{"token": name, "weight": round(float(draw.random()), 3)} for name in row[:2]] for row in tags
    ]
    weight = pl.List(pl.Struct({"token": pl.String, "weight": pl.Float64}))
    return pl.DataFrame(
        {
            "item_id": ids,
            "title": _titles(draw, count),
            "category": np.array(_CATEGORIES)[kinds],
            "brand": _ids("brand", 300)[draw.integers(0, 300, count)],
            "price": np.round(np.exp(draw.normal(3, 1, count)), 2),
            "released": _START - draw.integers(0, 5 * _YEAR, count),
            "tags": pl.Series(tags, dtype=pl.List(pl.String)),
            "materials": pl.Series(weighted, dtype=weight),
            "weight": np.round(np.exp(draw.normal(0, 1, count)), 3),
            "picture": pl.Series(np.round(taste, 4).tolist(), dtype=pl.List(pl.Float64)),
        }
    )


def _titles(draw: np.random.Generator, count: int) -> Sequence[str]:
    words = np.array(_ADJECTIVES)[draw.integers(0, len(_ADJECTIVES), count)]
    things = np.array(_NOUNS)[draw.integers(0, len(_NOUNS), count)]
    return [f"{word.capitalize()} {thing}" for word, thing in zip(words, things, strict=True)]


def _ids(prefix: str, count: int) -> NDArray[np.str_]:
    return np.array([f"{prefix}{number:05d}" for number in range(count)])
