"""Columns to encoders and encoded tables: vocabularies are fitted here, and nowhere else."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from torchtowers.data.config import (
    BucketsFeature,
    FeatureConfig,
    HistoryFeature,
    ListFeature,
    TokenFeature,
    WordsFeature,
)
from torchtowers.data.errors import DataError
from torchtowers.data.ragged import Ragged
from torchtowers.handlers.encoders import (
    BucketEncoder,
    Encoder,
    TokenEncoder,
    TokenListEncoder,
    Vocabulary,
    WordsEncoder,
    words_of,
)
from torchtowers.handlers.errors import FieldError

__all__ = [
    "EntityTable",
    "column_of",
    "encode_table",
    "fit_encoders",
    "ordered_table",
    "tokens_of",
]

Column = NDArray[np.int64] | Ragged


@dataclass(frozen=True)
class EntityTable:
    """All users, or all items, with their features encoded; row r is the key's token r.

    Args:
        key: The feature that is the id.
        encoders: By feature.
        columns: By feature, int64 `[rows]` or lists.
    """

    key: str
    encoders: Mapping[str, Encoder]
    columns: Mapping[str, Column]

    @property
    def tokens(self) -> tuple[str, ...]:
        """The ids, in the order of the rows."""
        return _key_encoder(self.encoders, self.key).vocabulary.tokens

    def __len__(self) -> int:
        return len(self.tokens)

    def take(self, rows: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
        """Give some rows as a tower's inputs: by feature, int64 `[rows]` or `[rows, length]`."""
        return {
            name: column.take(rows) if isinstance(column, Ragged) else column[rows]
            for name, column in self.columns.items()
        }


def _vocabulary_name(name: str, feature: FeatureConfig, item: str) -> str | None:
    """Name the vocabulary that a feature uses; a history shares the items' ids, buckets have none."""
    if isinstance(feature, BucketsFeature):
        return None
    return item if isinstance(feature, HistoryFeature) else name


def fit_encoders(
    features: Mapping[str, FeatureConfig],
    table: pl.DataFrame,
    key: str,
    item: str,
    vocabularies: Mapping[str, Vocabulary],
) -> dict[str, Encoder]:
    """Make each feature's encoder, with the vocabulary given for it or else one fitted to its column.

    Args:
        features: By name of the column.
        table: The entities.
        key: The column of their ids; has to be a `token` feature.
        item: The name of the items' ids, whose vocabulary a history shares.
        vocabularies: Those that are already known.

    Raises:
        DataError: A column is missing or of the wrong type, or the key is no `token` feature.
    """
    if not isinstance(features.get(key), TokenFeature):
        raise DataError(f"features: {key} has to be a feature of kind token, since it is the id")
    encoders = {}
    for name, feature in features.items():
        vocabulary_key = _vocabulary_name(name, feature, item)
        vocabulary = vocabularies.get(vocabulary_key) if vocabulary_key is not None else None
        if not isinstance(feature, HistoryFeature):
            _check_type(feature, column_of(table, name))
        if vocabulary is None and vocabulary_key == name:
            vocabulary = _fit(feature, column_of(table, name), is_key=name == key)
        encoders[name] = _encoder(feature, vocabulary)
    return encoders


def ordered_table(table: pl.DataFrame, key: str, encoders: Mapping[str, Encoder]) -> pl.DataFrame:
    """Give a table's rows in the order of the key's vocabulary.

    Args:
        table: The entities; each of the vocabulary's ids has to be in it once.
        key: The column of their ids.
        encoders: By feature.

    Raises:
        DataError: An id is missing, unknown or repeated.
    """
    tokens = _key_encoder(encoders, key).vocabulary.tokens
    order = {token: row for row, token in enumerate(tokens_of(column_of(table, key)))}
    if len(order) != table.height or set(order) != set(tokens):
        raise DataError(
            f"{key}: the table has {table.height} rows with {len(order)} distinct ids, the model knows "
            f"{len(tokens)}; it was trained on other data, or ids repeat"
        )
    return table[[order[token] for token in tokens]]


def encode_table(
    table: pl.DataFrame, key: str, encoders: Mapping[str, Encoder], given: Mapping[str, Column]
) -> EntityTable:
    """Encode every row of a table.

    Args:
        table: The entities, in the order of the key's vocabulary.
        key: The column of their ids.
        encoders: By feature.
        given: Columns that are encoded already, such as a history.

    Raises:
        DataError: A value does not fit its encoder.
    """
    columns: dict[str, Column] = {}
    for name, encoder in encoders.items():
        if name in given:
            columns[name] = given[name]
            continue
        try:
            values = column_of(table, name).to_list()
            if encoder.is_list:
                columns[name] = Ragged.of(_as_list(encoder.encode_value(value, name)) for value in values)
            else:
                columns[name] = encoder.encode(values)
        except FieldError as error:
            raise DataError(f"column {name}: {error}") from error
    return EntityTable(key, encoders, columns)


def _encoder(feature: FeatureConfig, vocabulary: Vocabulary | None) -> Encoder:
    if isinstance(feature, BucketsFeature):
        return BucketEncoder(feature.boundaries)
    if vocabulary is None:
        raise DataError("a history needs the items' ids as a feature of the item")
    if isinstance(feature, TokenFeature):
        return TokenEncoder(vocabulary)
    if isinstance(feature, WordsFeature):
        return WordsEncoder(vocabulary, feature.max_length)
    return TokenListEncoder(vocabulary, feature.max_length)


def _fit(feature: FeatureConfig, column: pl.Series, *, is_key: bool) -> Vocabulary:
    """Collect a column's tokens: ids in the order of the rows, everything else sorted."""
    values = column.drop_nulls().to_list()
    if isinstance(feature, WordsFeature):
        counts = Counter(word for text in values for word in words_of(text))
        return Vocabulary(sorted(word for word, count in counts.items() if count >= feature.min_count))
    if isinstance(feature, ListFeature):
        return Vocabulary(sorted({token for token in tokens_of(column.explode().drop_nulls()) if token}))
    distinct = dict.fromkeys(token for token in tokens_of(column) if token)
    return Vocabulary(distinct if is_key else sorted(distinct))


def tokens_of(column: pl.Series) -> list[str | None]:
    """Give a column of strings or integers as tokens."""
    tokens: list[str | None] = column.cast(pl.String).to_list()
    return tokens


def column_of(table: pl.DataFrame, name: str) -> pl.Series:
    """Give a column.

    Raises:
        DataError: There is none of that name.
    """
    if name not in table.columns:
        raise DataError(f"there is no column {name}; the table has {', '.join(table.columns)}")
    return table[name]


def _check_type(feature: FeatureConfig, column: pl.Series) -> None:
    """Refuse a column that the feature's kind can't encode, before anything is fitted to it."""
    inner = column.dtype.inner if isinstance(column.dtype, pl.List) else None
    fits, wanted = {
        TokenFeature: (_is_token(column.dtype), "strings or integers"),
        ListFeature: (inner is not None and _is_token(inner), "lists of strings or integers"),
        WordsFeature: (column.dtype == pl.String, "strings"),
        BucketsFeature: (column.dtype.is_numeric(), "numbers"),
    }[type(feature)]
    if not fits:
        raise DataError(
            f"features: {column.name} is of kind {feature.kind}, which takes {wanted}; "
            f"the column holds {column.dtype}"
        )


def _is_token(dtype: object) -> bool:
    return isinstance(dtype, pl.DataType) and (dtype == pl.String or dtype.is_integer())


def _key_encoder(encoders: Mapping[str, Encoder], key: str) -> TokenEncoder:
    encoder = encoders.get(key)
    if not isinstance(encoder, TokenEncoder):
        raise DataError(f"features: {key} has to be a feature of kind token, since it is the id")
    return encoder


def _as_list(indices: int | list[int]) -> list[int]:
    return indices if isinstance(indices, list) else [indices]
