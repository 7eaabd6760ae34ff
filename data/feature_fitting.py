"""Columns to encoders: vocabularies, means and boundaries are fitted here, and nowhere else."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from torchtowers.data.column_encoding import element_parser, numbers_of, parsed_lists
from torchtowers.data.column_types import checked_column
from torchtowers.data.errors import DataError
from torchtowers.data.feature_config import (
    BooleanFeature,
    BucketsFeature,
    FeatureConfig,
    HashedTokenFeature,
    HistoryFeature,
    ListFeature,
    NumberFeature,
    TimestampFeature,
    TokenFeature,
    UnifiedTokenFeature,
    VectorFeature,
    WordsFeature,
    shared_with,
)
from torchtowers.data.times import to_seconds
from torchtowers.handlers.encoders import (
    BooleanEncoder,
    BucketEncoder,
    Encoder,
    HashedTokenEncoder,
    HashedWordsEncoder,
    NumberEncoder,
    TimestampEncoder,
    TokenEncoder,
    TokenListEncoder,
    UnifiedTokenEncoder,
    VectorEncoder,
    Vocabulary,
    WeightedListEncoder,
    WordsEncoder,
    log_of,
    words_of,
)
from torchtowers.handlers.errors import FieldError

__all__ = ["fit_encoders", "tokens_of"]

_MOST_WORD_BUCKETS = 2**16
# Quantiles of more values than this are those of a part of them, evenly taken.
_MOST_RANKED = 4_000_000


def fit_encoders(
    features: Mapping[str, FeatureConfig],
    table: pl.DataFrame,
    key: str | None,
    listed: str,
    ids: Mapping[str, Vocabulary],
    *,
    section: str,
    counts: NDArray[np.int64] | None = None,
    others: Mapping[str, Encoder] | None = None,
    fitted: Mapping[str, Encoder] | None = None,
) -> dict[str, Encoder]:
    """Make each feature's encoder, fitted to its column, or take that of an earlier run.

    Args:
        features: By name of the column.
        table: The entities.
        key: The column of their ids; None where the rows are no entities.
        listed: The column of the ids that a history lists, whose vocabulary it shares.
        ids: The vocabularies of the users' and items' ids, by their column.
        section: Of the configuration, `user`, `item` or `context`; for errors.
        counts: In how many interactions each row is, int64 `[rows]`; what `min_count` of the ids looks at.
        others: Encoders of other tables, whose vocabulary a feature may share.
        fitted: Encoders of an earlier run, by feature; None fits them.

    Raises:
        DataError: A column is missing or of the wrong type, or has no value to fit to.
    """
    fitting = _Fitting(table, key, listed, ids, counts)
    encoders: dict[str, Encoder] = {}
    # Those that share come last, since they need the others.
    for name, feature in sorted(features.items(), key=lambda entry: _shares(entry[1])):
        if not isinstance(feature, HistoryFeature):
            column = checked_column(table, name, feature, section)
            if fitted is None and column.null_count() == len(column):
                raise DataError(f"features.{section}: the column {name} has no value: leave it out")
        if fitted is not None:
            if name not in fitted:
                raise DataError(f"features: the run's encoders have none for {name}: train the run again")
            encoders[name] = fitted[name]
            continue
        if _shares(feature):
            fitting.vocabularies[name] = _shared_vocabulary(name, feature, {**(others or {}), **encoders})
        try:
            encoders[name] = fitting.encoder(name, feature)
        except FieldError as error:
            raise DataError(f"column {error}") from error
    return {name: encoders[name] for name in features}


def tokens_of(column: pl.Series) -> list[str | None]:
    """Give a column of strings or integers as tokens."""
    tokens: list[str | None] = column.cast(pl.String).to_list()
    return tokens


class _Fitting:
    """Fits one table's encoders."""

    def __init__(
        self,
        table: pl.DataFrame,
        key: str | None,
        listed: str,
        ids: Mapping[str, Vocabulary],
        counts: NDArray[np.int64] | None,
    ) -> None:
        self.table = table
        self.key = key
        self.listed = listed
        self.vocabularies = dict(ids)
        self.counts = counts

    def encoder(self, name: str, feature: FeatureConfig) -> Encoder:
        """Fit one."""
        if isinstance(feature, HistoryFeature):
            return TokenListEncoder(self._listed_ids(), feature.max_length)
        column = self.table[name]
        match feature:
            case TokenFeature():
                return TokenEncoder(self._tokens(name, feature, column), feature.oov_buckets)
            case HashedTokenFeature():
                return HashedTokenEncoder(feature.buckets)
            case UnifiedTokenFeature():
                return UnifiedTokenEncoder(feature.buckets, feature.hashes, name)
            case ListFeature():
                kind = WeightedListEncoder if feature.weighted else TokenListEncoder
                vocabulary = self.vocabularies.get(name) or _list_vocabulary(feature, column)
                return kind(vocabulary, feature.max_length)
            case WordsFeature():
                return self._words(name, feature, column)
            case NumberFeature():
                return _number_encoder(feature, column)
            case BucketsFeature():
                return BucketEncoder(feature.boundaries)
            case BooleanFeature():
                return BooleanEncoder()
            case TimestampFeature():
                return _timestamp_encoder(feature, column)
            case VectorFeature():
                return _vector_encoder(feature, column)

    def _listed_ids(self) -> Vocabulary:
        if self.listed not in self.vocabularies:
            raise DataError(f"a history needs the ids that it lists, {self.listed}, and there are none")
        return self.vocabularies[self.listed]

    def _tokens(self, name: str, feature: TokenFeature, column: pl.Series) -> Vocabulary:
        known = self.vocabularies.get(name)
        if name != self.key:
            return known or _token_vocabulary(column, feature.min_count)
        ids = known or Vocabulary(token for token in tokens_of(column) if token)
        if feature.min_count == 1:
            return ids
        if self.counts is None:
            raise DataError(
                f"features: min_count of {name} looks at its interactions, which are not known here"
            )
        return _vocabulary(name, zip(ids.tokens, self.counts.tolist(), strict=True), feature.min_count)

    def _words(self, name: str, feature: WordsFeature, column: pl.Series) -> Encoder:
        if feature.vocabulary and name in self.vocabularies:
            return WordsEncoder(self.vocabularies[name], feature.max_length)
        if feature.hash_buckets is not None:
            return HashedWordsEncoder(feature.hash_buckets, feature.max_length)
        counts: Counter[str] = Counter()
        for text in column.drop_nulls().to_list():
            counts.update(words_of(text))
        if feature.vocabulary:
            words = _vocabulary(name, sorted(counts.items()), feature.min_count)
            return WordsEncoder(words, feature.max_length)
        buckets = min(1 << max(len(counts), 1).bit_length(), _MOST_WORD_BUCKETS)
        return HashedWordsEncoder(buckets, feature.max_length)


def _shares(feature: FeatureConfig) -> bool:
    # A history has the vocabulary of the ids that it lists, whether it shares their table or not.
    return shared_with(feature) is not None and not isinstance(feature, HistoryFeature)


def _shared_vocabulary(name: str, feature: FeatureConfig, encoders: Mapping[str, Encoder]) -> Vocabulary:
    other = shared_with(feature)
    vocabulary = getattr(encoders.get(str(other)), "vocabulary", None)
    if not isinstance(vocabulary, Vocabulary):
        raise DataError(
            f"features: {name} shares the table of {other}, which has to be a feature of the same table; "
            "a user's feature may also share an item's, and the context's one of either"
        )
    return vocabulary


def _vocabulary(name: str, counts: Iterable[tuple[str, int]], min_count: int) -> Vocabulary:
    """Give the values that stand often enough, in the order in which they come."""
    given = [(token, count) for token, count in counts if token]
    found = Vocabulary(token for token, count in given if count >= min_count)
    if given and not found.tokens:
        most = max(count for _, count in given)
        raise DataError(
            f"features: {name} has min_count {min_count}, and no value stands more than {most} times: "
            "lower it"
        )
    return found


def _token_vocabulary(column: pl.Series, min_count: int) -> Vocabulary:
    counts = column.drop_nulls().cast(pl.String).value_counts(name="count")
    return _vocabulary(column.name, sorted(counts.iter_rows()), min_count)


def _list_vocabulary(feature: ListFeature, column: pl.Series) -> Vocabulary:
    counts: Counter[str] = Counter()
    if column.dtype != pl.String and not feature.weighted:
        elements = column.drop_nulls().explode()
        return _token_vocabulary(elements, feature.min_count)
    for value in parsed_lists(column, _token_of_pair if feature.weighted else str):
        counts.update(_tokens_in(value, weighted=feature.weighted))
    return _vocabulary(column.name, sorted(counts.items()), feature.min_count)


def _token_of_pair(piece: str) -> object:
    return [piece.rpartition(":")[0], 0.0]


def _tokens_in(value: Any, *, weighted: bool) -> Iterable[str]:
    """Give the tokens of a list; what is malformed is told of where the column is encoded."""
    if weighted and isinstance(value, dict):
        return [str(token) for token in value]
    if not isinstance(value, list):
        return []
    if not weighted:
        return [str(element) for element in value]
    return [str(pair[0]) for pair in value if isinstance(pair, list) and pair]


def _number_encoder(feature: NumberFeature, column: pl.Series) -> Encoder:
    values = numbers_of(column)
    known = values[~np.isnan(values)]
    if feature.transform == "quantiles":
        part = known[:: -(-len(known) // _MOST_RANKED)]
        inner = np.linspace(0, 1, feature.buckets + 1)[1:-1]
        return BucketEncoder(np.unique(np.quantile(part, inner)).tolist())
    if feature.transform == "log":
        known = log_of(known)
    # Scaled first, since the square of a large float is infinite.
    largest = float(np.abs(known).max()) or 1.0
    mean, deviation = float((known / largest).mean()) * largest, float((known / largest).std()) * largest
    # A column of one value has nothing to be told by.
    return NumberEncoder(feature.transform, mean, deviation or 1.0)


def _timestamp_encoder(feature: TimestampFeature, column: pl.Series) -> Encoder:
    unit = feature.unit or "s"
    known = to_seconds(column, unit, f"the unit of {column.name}").drop_nulls().to_numpy().astype(np.float64)
    if not len(known):
        raise DataError(f"features: {column.name} is a timestamp, and its column has none: leave it out")
    reference = float(known.max())
    return TimestampEncoder(reference, float(log_of((reference - known) / 86_400).max()) or 1.0, unit)


def _vector_encoder(feature: VectorFeature, column: pl.Series) -> Encoder:
    known = column.drop_nulls()
    first = next(iter(parsed_lists(known.head(1), str)), None)
    width = feature.width or (len(first) if isinstance(first, list) else 0)
    if not width:
        raise DataError(f"features: {column.name} is a vector, and its column has none: leave it out")
    if column.dtype == pl.String:
        # Without a scale first, by which also a bad number is told.
        plain = VectorEncoder(width)
        vectors = parsed_lists(known, element_parser(plain))
        numbers = np.array([plain.encode_value(vector, column.name) for vector in vectors], dtype=np.float64)
    else:
        numbers = known.cast(pl.List(pl.Float64)).explode().drop_nulls().to_numpy()
    largest = float(np.abs(numbers).max())
    if not np.isfinite(largest) or largest == 0.0:
        return VectorEncoder(width)  # a number that is none is told of where the column is encoded
    return VectorEncoder(width, largest * float(np.sqrt(((numbers / largest) ** 2).mean())))
