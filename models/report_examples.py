"""What a model says to a few users: recommendations or predictions, with the items' titles."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from torchtowers.data.dataset import Dataset
from torchtowers.data.interactions import Interactions
from torchtowers.models.evaluation import Scorer, seen_before
from torchtowers.models.index import top_columns
from torchtowers.models.pairs_by_user import PairsByUser

__all__ = [
    "Example",
    "Shown",
    "example_predictions",
    "example_recommendations",
    "item_titles",
]

_USERS = 6
_ITEMS = 10


@dataclass(frozen=True)
class Shown:
    """An item of an example.

    Args:
        title: The item's.
        score: What the model gives it.
        label: The label that it has in the test part; None if it is not there or there are no labels.
        is_wanted: Whether it is in the user's test part.
    """

    title: str
    score: float
    label: float | None
    is_wanted: bool


@dataclass(frozen=True)
class Example:
    """A user, and what a model says.

    Args:
        user: The id.
        seen: Titles of the user's last items in training, newest first.
        seen_count: How many there are in all.
        wanted_count: How many the user has in the test part.
        items: Best first.
    """

    user: str
    seen: list[str]
    seen_count: int
    wanted_count: int
    items: list[Shown]


def item_titles(dataset: Dataset, columns: Sequence[str] = ()) -> list[str]:
    """Give a name to each item: the first text among some columns, or else the id.

    Args:
        dataset: With the items' table.
        columns: Which, in the order of preference; after them, any column called `title` or `name`.
    """
    table, key = dataset.item_table, dataset.items.key
    ids = [str(token) for token in table[key]]
    for column in (*columns, "title", "name"):
        if column in table.columns and column != key and table.schema[column] == pl.String:
            return [text or identifier for text, identifier in zip(table[column], ids, strict=True)]
    return ids


def example_recommendations(scorer: Scorer, dataset: Dataset, titles: Sequence[str]) -> list[Example]:
    """Recommend to a few users of the test part, chosen over the whole range of activity.

    Args:
        scorer: As in `evaluate`.
        dataset: The data.
        titles: Each item's.
    """
    past = seen_before(dataset, "test")
    wanted = PairsByUser(dataset.test.users, dataset.test.items)
    users = _spread(dataset.test.users, past.users)
    scores = torch.tensor(scorer(users))
    scores[PairsByUser(past.users, past.items).pairs(users)] = -torch.inf
    found = []
    for user, best, columns in zip(users, *top_columns(scores, _ITEMS), strict=True):
        own = set(wanted.pairs(np.array([user]))[1].tolist())
        items = [
            Shown(titles[item], score, None, item in own)
            for item, score in zip(columns.tolist(), best.tolist(), strict=True)
            if score > -np.inf
        ]
        found.append(_example(dataset, past, int(user), titles, items, len(own)))
    return found


def example_predictions(
    predictions: NDArray[np.floating],
    labels: NDArray[np.floating],
    dataset: Dataset,
    titles: Sequence[str],
) -> list[Example]:
    """Show predictions beside labels for a few users of the test part.

    Args:
        predictions: Of the test part, `[pairs]`.
        labels: Likewise.
        dataset: The data.
        titles: Each item's.
    """
    past = seen_before(dataset, "test")
    found = []
    for user in _spread(dataset.test.users, past.users):
        rows = np.flatnonzero(dataset.test.users == user)
        best = rows[np.argsort(-predictions[rows], kind="stable")][:_ITEMS]
        items = [
            Shown(titles[dataset.test.items[row]], float(predictions[row]), float(labels[row]), True)
            for row in best
        ]
        found.append(_example(dataset, past, int(user), titles, items, len(rows)))
    return found


def _spread(users: NDArray[np.int64], trained: NDArray[np.int64]) -> NDArray[np.int64]:
    """Choose users from the least to the most active."""
    names = np.unique(users)
    counts = np.bincount(trained, minlength=int(names.max()) + 1)[names]
    order = names[np.argsort(counts, kind="stable")]
    # The very ends are odd users.
    places = np.linspace(0, len(order) - 1, min(len(order), _USERS) + 2)[1:-1]
    return np.unique(order[places.round().astype(np.int64)])


def _example(
    dataset: Dataset,
    past: Interactions,
    user: int,
    titles: Sequence[str],
    items: list[Shown],
    wanted: int,
) -> Example:
    rows = np.flatnonzero(past.users == user)
    if past.times is not None:
        rows = rows[np.argsort(past.times[rows], kind="stable")]
    last = [titles[item] for item in past.items[rows[-_ITEMS:][::-1]]]
    return Example(str(dataset.users.tokens[user]), last, len(rows), wanted, items)
