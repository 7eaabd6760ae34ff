"""Columns to encoders and encoded tables: vocabularies are fitted here, and nowhere else."""

from collections import Counter
from collections.abc import Iterable, Mapping
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

__all__ = ["EntityTable", "encode_table", "fit_encoders", "vocabulary_name"]

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


def vocabulary_name(name: str, feature: FeatureConfig, item: str) -> str | None:
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
        vocabulary_key = vocabulary_name(name, feature, item)
        vocabulary = vocabularies.get(vocabulary_key) if vocabulary_key is not None else None
        if vocabulary is None and vocabulary_key == name:
            vocabulary = _fit(feature, _column(table, name), is_key=name == key)
        encoders[name] = _encoder(feature, vocabulary)
    return encoders


def encode_table(
    table: pl.DataFrame, key: str, encoders: Mapping[str, Encoder], given: Mapping[str, Column]
) -> EntityTable:
    """Encode every row of a table, in the order of the key's vocabulary.

    Args:
        table: The entities; each of the vocabulary's ids has to be in it once.
        key: The column of their ids.
        encoders: By feature.
        given: Columns that are encoded already, such as a history.

    Raises:
        DataError: An id is missing or repeated, or a value does not fit its encoder.
    """
    tokens = _key_encoder(encoders, key).vocabulary.tokens
    order = {token: row for row, token in enumerate(table[key].to_list())}
    if len(order) != table.height or set(order) != set(tokens):
        raise DataError(
            f"{key}: the table has {table.height} rows with {len(order)} distinct ids, the model knows "
            f"{len(tokens)}; it was trained on other data, or ids repeat"
        )
    table = table[[order[token] for token in tokens]]
    columns: dict[str, Column] = {}
    for name, encoder in encoders.items():
        if name in given:
            columns[name] = given[name]
            continue
        try:
            values = _column(table, name).to_list()
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
        return Vocabulary(sorted({token for tokens in values for token in tokens if token}))
    tokens: Iterable[str] = dict.fromkeys(value for value in values if value != "")
    return Vocabulary(tokens if is_key else sorted(tokens))


def _column(table: pl.DataFrame, name: str) -> pl.Series:
    if name not in table.columns:
        raise DataError(f"features: there is no column {name}; the table has {', '.join(table.columns)}")
    return table[name]


def _key_encoder(encoders: Mapping[str, Encoder], key: str) -> TokenEncoder:
    encoder = encoders.get(key)
    if not isinstance(encoder, TokenEncoder):
        raise DataError(f"features: {key} has to be a feature of kind token, since it is the id")
    return encoder


def _as_list(indices: int | list[int]) -> list[int]:
    return indices if isinstance(indices, list) else [indices]
