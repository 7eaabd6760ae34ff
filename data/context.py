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
    item: str,
    vocabularies: Mapping[str, Vocabulary],
    others: Mapping[str, Encoder],
) -> tuple[dict[str, Encoder], dict[str, Column]]:
    """Fit the encoders, and encode the interactions that are left.

    Args:
        features: By name of the column.
        table: The interactions as they were read.
        rows: Those of its rows that are left, int64 `[pairs]`, ascending.
        item: The name of the items' ids.
        vocabularies: Those that are already known.
        others: The users' and items' encoders, whose vocabulary a feature may share.

    Returns:
        The encoders, and the columns as mapped arrays.

    Raises:
        DataError: A column is missing or of the wrong type.
    """
    if not features:
        return {}, {}
    none = table.lazy().head(0).collect()
    for name in features:
        column_of(none, name, "the interactions' table")
    table = table.lazy().select(*features)
    every = -(-len(rows) // _FITTED_ROWS)
    sample = pl.concat(_chosen(table, rows[::every]))
    encoders = fit_encoders(features, sample, None, item, vocabularies, others=others)
    return encoders, stored_columns(encode_columns(part, encoders, {}) for part in _chosen(table, rows))


def _chosen(table: pl.LazyFrame, rows: NDArray[np.int64]) -> Iterator[pl.DataFrame]:
    for first, batch in batches_of(table):
        begin, end = np.searchsorted(rows, (first, first + batch.height))
        if end > begin:
            yield batch[rows[begin:end] - first]
