"""Features of the interactions themselves, encoded a batch at a time."""

from collections.abc import Iterator, Mapping

import numpy as np
import polars as pl
from numpy.typing import NDArray

from torchtowers.data.cleaning import column_of
from torchtowers.data.column_encoding import Column, encode_columns
from torchtowers.data.feature_config import FeatureConfig
from torchtowers.data.feature_fitting import fit_encoders
from torchtowers.data.ingestion import batches_of
from torchtowers.data.interactions import stored_columns
from torchtowers.handlers.encoders import Encoder, Vocabulary

__all__ = ["encode_context"]

# More rows than these are fitted by every second, third, … of them.
_FITTED_ROWS = 4_000_000


def encode_context(
    features: Mapping[str, FeatureConfig],
    table: pl.DataFrame | pl.LazyFrame,
    rows: NDArray[np.int64],
    train: NDArray[np.int64],
    item: str,
    ids: Mapping[str, Vocabulary],
    others: Mapping[str, Encoder],
    fitted: Mapping[str, Encoder] | None = None,
) -> tuple[dict[str, Encoder], dict[str, Column]]:
    """Fit the encoders to the training part, and encode the interactions that are left.

    Args:
        features: By name of the column.
        table: The interactions as they were read.
        rows: Those of its rows that are left, int64 `[pairs]`, ascending.
        train: Which of `rows` train, int64 `[training pairs]`, in any order.
        item: The name of the items' ids.
        ids: Those of the users and the items, by their column.
        others: The users' and items' encoders, whose vocabulary a feature may share.
        fitted: Encoders of an earlier run; None fits them.

    Returns:
        The encoders, and the columns as mapped arrays.

    Raises:
        DataError: A column is missing or of the wrong type.
    """
    if not features:
        return {}, {}
    what = "the interactions' table"
    none = table.lazy().head(0).collect()
    for name in features:
        column_of(none, name, "features.context", what)
    table = table.lazy().select(*features)
    every = -(-len(train) // _FITTED_ROWS)
    sample = none.select(*features) if fitted else pl.concat(_chosen(table, np.sort(rows[train[::every]])))
    encoders = fit_encoders(
        features, sample, None, item, ids, section="context", others=others, fitted=fitted
    )
    return encoders, stored_columns(encode_columns(part, encoders, {}) for part in _chosen(table, rows))


def _chosen(table: pl.LazyFrame, rows: NDArray[np.int64]) -> Iterator[pl.DataFrame]:
    for first, batch in batches_of(table):
        begin, end = np.searchsorted(rows, (first, first + batch.height))
        if end > begin:
            yield batch[rows[begin:end] - first]
