"""From tables and a configuration to what a model trains on."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from torchtowers.data.config import DataConfig, FeatureConfig, FeaturesConfig, HistoryFeature, SplitConfig
from torchtowers.data.errors import DataError
from torchtowers.data.features import (
    EntityTable,
    column_of,
    encode_table,
    fit_encoders,
    ordered_table,
    tokens_of,
)
from torchtowers.data.ragged import Ragged
from torchtowers.data.splits import Split, split_random
from torchtowers.data.tables import Tables
from torchtowers.handlers.encoders import FIRST_TOKEN, Encoder, Vocabulary

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
    item_table = ordered_table(tables.items, data.item, item_encoders)
    user_table = ordered_table(tables.users, data.user, user_encoders)
    rows = split_random(tables.interactions.height, split)
    user_rows = _rows(tables.interactions, data.user, user_encoders)
    item_rows = _rows(tables.interactions, data.item, item_encoders)
    name, history = _history(features.user)
    full = given = None
    if history is not None:
        full = _build_history(
            tables.interactions, rows.train, user_rows, item_rows, history, tables.users.height
        )
        given = full.last(history.max_length)
    histories = {} if name is None or given is None else {name: given}
    return Dataset(
        users=encode_table(user_table, data.user, user_encoders, histories),
        items=encode_table(item_table, data.item, item_encoders, {}),
        history=name,
        full_history=full,
        item_table=item_table,
        **_parts(rows, user_rows, item_rows),
    )


def _parts(rows: Split, users: NDArray[np.int64], items: NDArray[np.int64]) -> dict[str, Interactions]:
    return {
        part: Interactions(users[chosen], items[chosen])
        for part, chosen in (("train", rows.train), ("validation", rows.validation), ("test", rows.test))
    }


def _rows(interactions: pl.DataFrame, key: str, encoders: Mapping[str, Encoder]) -> NDArray[np.int64]:
    """Give the interactions' ids as rows of their table."""
    rows = encoders[key].encode(tokens_of(column_of(interactions, key))) - FIRST_TOKEN
    if (rows < 0).any():
        first = int(np.flatnonzero(rows < 0)[0])
        raise DataError(
            f"interaction {first + 1} names the {key} {interactions[key][first]!r}, which has no row"
        )
    return rows


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
        chosen = train[column_of(interactions, "rating").to_numpy()[train] >= feature.minimum_rating]
    times = column_of(interactions, "timestamp").to_numpy()[chosen]
    order = np.lexsort((chosen, times, users[chosen]))
    chosen = chosen[order]
    offsets = np.zeros(count + 1, dtype=np.int64)
    np.cumsum(np.bincount(users[chosen], minlength=count), out=offsets[1:])
    return Ragged(items[chosen] + FIRST_TOKEN, offsets)
