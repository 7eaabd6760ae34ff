"""Interactions that come after a data set was made, as its test part."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from torchtowers.data.cleaning import Cleaner
from torchtowers.data.column_encoding import Column, encode_columns
from torchtowers.data.column_types import checked_column
from torchtowers.data.config import DataConfig
from torchtowers.data.dataset import Dataset
from torchtowers.data.errors import DataError
from torchtowers.data.feature_config import FeaturesConfig
from torchtowers.data.history import History
from torchtowers.data.interactions import Interactions
from torchtowers.data.ragged import Ragged

__all__ = ["Later", "with_later"]


@dataclass(frozen=True)
class Later:
    """A data set with another test part.

    Args:
        dataset: Its training part is what it was; users that it does not know have rows behind its own, with
            an unknown id and no history.
        new_users: How many those are.
        dropped: How many of the later rows were left out, by the reason.
    """

    dataset: Dataset
    new_users: int
    dropped: Mapping[str, int]


def with_later(dataset: Dataset, data: DataConfig, features: FeaturesConfig, table: pl.DataFrame) -> Later:
    """Take interactions for the test part of a data set.

    Args:
        dataset: What a model was trained on.
        data: Which columns are what.
        features: How the data set's features are encoded.
        table: The interactions, with the same columns. Features of users that the data set does not know are
            taken from it too, where it has such columns; other features of theirs are missing.

    Raises:
        DataError: A column is missing or of the wrong type, or no interaction with a known item is left.
    """
    # Which users are new is found below: none is left out.
    cleaner = Cleaner(data)
    interactions = cleaner.interactions(table)
    for name, feature in features.context.items():
        checked_column(interactions, name, feature, "context")
    for name, feature in features.user.items():
        if name in interactions.columns and name not in dataset.histories:
            checked_column(interactions, name, feature, "user")
    has_item = interactions[data.item].is_in(list(dataset.items.tokens))
    cleaner.count(f"interactions whose {data.item} is not in its table", int((~has_item).sum()))
    interactions = interactions.filter(has_item)
    if not interactions.height:
        raise DataError(f"no interaction of a known item is left; left out were {cleaner.told()}")
    known = {token: row for row, token in enumerate(dataset.users.tokens)}
    ids = interactions[data.user].to_list()
    new = {
        token: len(known) + row for row, token in enumerate(t for t in dict.fromkeys(ids) if t not in known)
    }
    rows = known | new
    items = {token: row for row, token in enumerate(dataset.items.tokens)}
    test = Interactions(
        np.array([rows[token] for token in ids], dtype=np.int64),
        np.array([items[token] for token in interactions[data.item]], dtype=np.int64),
        None if data.label is None else interactions[data.label].to_numpy().astype(np.float32),
        None if data.time is None else interactions[data.time].to_numpy(),
        encode_columns(interactions, dataset.context_encoders, {}),
    )
    extended = _with_users(dataset, data.user, interactions, list(new))
    return Later(replace(extended, test=test), len(new), cleaner.dropped)


def _with_users(dataset: Dataset, key: str, interactions: pl.DataFrame, new: list[str]) -> Dataset:
    """Give the data set with rows for users that it does not know."""
    if not new:
        return dataset
    first = interactions.unique(key, keep="first", maintain_order=True)
    table = pl.DataFrame({key: new}).join(first, on=key, how="left", maintain_order="left")
    encoders = {
        name: encoder for name, encoder in dataset.users.encoders.items() if name not in dataset.histories
    }
    missing = [pl.lit(None).alias(name) for name in encoders if name not in table.columns]
    empty = np.zeros(len(new), dtype=np.int64)
    given: dict[str, Column] = {name: _lists(empty) for name in dataset.histories}
    encoded = encode_columns(table.with_columns(missing), dataset.users.encoders, given)
    columns = {name: _joined(column, encoded[name]) for name, column in dataset.users.columns.items()}
    return replace(
        dataset,
        users=replace(dataset.users, columns=columns),
        histories={name: _with_rows(history, empty) for name, history in dataset.histories.items()},
    )


def _with_rows(history: History, lengths: NDArray[np.int64]) -> History:
    return replace(history, items=_joined_lists(history.items, _lists(lengths)))


def _lists(lengths: NDArray[np.int64]) -> Ragged:
    """Give empty lists."""
    return Ragged(np.empty(0, dtype=np.int64), np.concatenate([[0], lengths.cumsum()]))


def _joined_lists(first: Ragged, second: Ragged) -> Ragged:
    offsets = np.concatenate([first.offsets, second.offsets[1:] + first.offsets[-1]])
    return Ragged(np.concatenate([first.values, second.values]), offsets)


def _joined(first: Column, second: Column) -> Column:
    if isinstance(first, Ragged) and isinstance(second, Ragged):
        return _joined_lists(first, second)
    return np.concatenate([first, second])
