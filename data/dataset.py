"""From tables and a configuration to what a model trains on."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from torchtowers.data.config import DataConfig, FeatureConfig, FeaturesConfig, HistoryFeature, SplitConfig
from torchtowers.data.features import EntityTable, encode_table, fit_encoders
from torchtowers.data.ragged import Ragged
from torchtowers.data.splits import Split, split_random
from torchtowers.data.tables import Tables
from torchtowers.handlers.encoders import FIRST_TOKEN, Vocabulary

__all__ = ["Dataset", "Interactions", "prepare"]


@dataclass(frozen=True)
class Interactions:
    """Pairs of a user and an item, as rows of their tables.

    Args:
        users: int64 `[pairs]`.
        items: int64 `[pairs]`.
    """

    users: NDArray[np.int64]
    items: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.users)


@dataclass(frozen=True)
class Dataset:
    """Encoded users and items, and the interactions of each part of the split.

    Args:
        users: With their history, where the configuration has one.
        items: The catalogue.
        history: The name of the user's history; None if there is none. Its tokens are the items' ids.
        full_history: For each user, the history's indices before they are cut to its `max_length`.
        train: Interactions to learn from.
        validation: Interactions to choose settings by; may be empty.
        test: Interactions to report on.
        item_table: The items' own columns, in the order of `items`.
    """

    users: EntityTable
    items: EntityTable
    history: str | None
    full_history: Ragged | None
    train: Interactions
    validation: Interactions
    test: Interactions
    item_table: pl.DataFrame

    @property
    def vocabularies(self) -> dict[str, Vocabulary]:
        """By feature; a history has the items' own."""
        found = {}
        for table in (self.users, self.items):
            for name, encoder in table.encoders.items():
                vocabulary = getattr(encoder, "vocabulary", None)
                if vocabulary is not None and name != self.history:
                    found[name] = vocabulary
        return found


def prepare(
    tables: Tables,
    data: DataConfig,
    split: SplitConfig,
    features: FeaturesConfig,
    vocabularies: Mapping[str, Vocabulary] | None = None,
) -> Dataset:
    """Split, fit or reuse vocabularies, and encode.

    Args:
        tables: The data set.
        data: Which columns are the ids.
        split: How interactions are divided.
        features: What each tower takes.
        vocabularies: Those of an earlier run; None fits them.

    Raises:
        DataError: The tables and the configuration don't fit each other.
    """
    known = dict(vocabularies or {})
    item_encoders = fit_encoders(features.item, tables.items, data.item, data.item, known)
    known.setdefault(data.item, item_encoders[data.item].vocabulary)  # type: ignore[attr-defined]
    user_encoders = fit_encoders(features.user, tables.users, data.user, data.item, known)
    items = encode_table(tables.items, data.item, item_encoders, {})
    rows = split_random(tables.interactions.height, split)
    user_rows = _rows(tables.interactions[data.user], user_encoders[data.user].vocabulary)  # type: ignore[attr-defined]
    item_rows = _rows(tables.interactions[data.item], known[data.item])
    name, history = _history(features.user)
    full = given = None
    if history is not None:
        full = _build_history(
            tables.interactions, rows.train, user_rows, item_rows, history, tables.users.height
        )
        given = full.last(history.max_length)
    users = encode_table(
        tables.users, data.user, user_encoders, {} if name is None or given is None else {name: given}
    )
    order = {token: row for row, token in enumerate(tables.items[data.item].to_list())}
    return Dataset(
        users=users,
        items=items,
        history=name,
        full_history=full,
        item_table=tables.items[[order[token] for token in items.tokens]],
        **_parts(rows, user_rows, item_rows),
    )


def _parts(rows: Split, users: NDArray[np.int64], items: NDArray[np.int64]) -> dict[str, Interactions]:
    return {
        part: Interactions(users[chosen], items[chosen])
        for part, chosen in (("train", rows.train), ("validation", rows.validation), ("test", rows.test))
    }


def _rows(ids: pl.Series, vocabulary: Vocabulary) -> NDArray[np.int64]:
    index = {token: row for row, token in enumerate(vocabulary.tokens)}
    return np.fromiter((index[token] for token in ids.to_list()), np.int64, len(ids))


def _history(features: Mapping[str, FeatureConfig]) -> tuple[str | None, HistoryFeature | None]:
    for name, feature in features.items():
        if isinstance(feature, HistoryFeature):
            return name, feature
    return None, None


def _build_history(
    interactions: pl.DataFrame,
    train: NDArray[np.int64],
    users: NDArray[np.int64],
    items: NDArray[np.int64],
    feature: HistoryFeature,
    count: int,
) -> Ragged:
    """Collect each user's liked items from the training rows only, oldest first."""
    chosen = train
    if feature.minimum_rating is not None:
        chosen = train[interactions["rating"].to_numpy()[train] >= feature.minimum_rating]
    times = interactions["timestamp"].to_numpy()[chosen]
    order = np.lexsort((chosen, times, users[chosen]))
    chosen = chosen[order]
    offsets = np.zeros(count + 1, dtype=np.int64)
    np.cumsum(np.bincount(users[chosen], minlength=count), out=offsets[1:])
    return Ragged(items[chosen] + FIRST_TOKEN, offsets)
