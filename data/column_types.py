"""Which types of columns a kind of feature, or its encoder, can encode."""

import polars as pl

from torchtowers.data.cleaning import column_of
from torchtowers.data.errors import DataError, shorten
from torchtowers.data.feature_config import (
    BooleanFeature,
    BucketsFeature,
    FeatureConfig,
    HashedTokenFeature,
    ListFeature,
    NumberFeature,
    TimestampFeature,
    TokenFeature,
    UnifiedTokenFeature,
    VectorFeature,
    WordsFeature,
)
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
    WeightedListEncoder,
    WordsEncoder,
)

__all__ = ["checked_column"]

_TABLES = {"user": "the users' table", "item": "the items' table", "context": "the interactions' table"}


def checked_column(
    table: pl.DataFrame, name: str, feature: FeatureConfig | Encoder, section: str
) -> pl.Series:
    """Give a feature's column, if it is there and of a type that the feature's kind can encode.

    Args:
        table: Where to look.
        name: Of the feature and the column.
        feature: How it is encoded, or by which encoder.
        section: Of the configuration, `user`, `item` or `context`; for errors.

    Raises:
        DataError: It is missing or of the wrong type.
    """
    column = column_of(table, name, f"features.{section}", _TABLES[section])
    _check_type(feature, column, section)
    return column


def _check_type(feature: FeatureConfig | Encoder, column: pl.Series, section: str) -> None:
    kind = column.dtype
    if column.null_count() == len(column):
        return  # whichever type a reader gives a column without values
    inner = kind.inner if isinstance(kind, pl.List | pl.Array) else None
    is_text = kind == pl.String
    token, fits, wanted = _is_token(kind), False, ""
    match feature:
        case (
            TokenFeature()
            | HashedTokenFeature()
            | UnifiedTokenFeature()
            | TokenEncoder()
            | HashedTokenEncoder()
            | UnifiedTokenEncoder()
        ):
            fits, wanted = token, "strings or integers"
        case ListFeature(weighted=True) | WeightedListEncoder():
            fits, wanted = inner is not None or is_text, "lists of pairs of a token and a weight"
        case ListFeature() | TokenListEncoder():
            fits, wanted = (inner is not None and _is_token(inner)) or is_text, "lists of strings or integers"
        case WordsFeature() | WordsEncoder() | HashedWordsEncoder():
            fits, wanted = is_text, "strings"
        case NumberFeature() | BucketsFeature() | NumberEncoder() | BucketEncoder():
            fits, wanted = kind.is_numeric(), "numbers"
        case BooleanFeature() | BooleanEncoder():
            fits, wanted = kind == pl.Boolean or kind.is_integer(), "true and false, or 1 and 0"
        case TimestampFeature() | TimestampEncoder():
            fits = kind.is_numeric() or is_text or kind == pl.Date or isinstance(kind, pl.Datetime)
            wanted = "dates, numbers since 1970 or ISO 8601 texts"
        case VectorFeature() | VectorEncoder():
            fits = (inner is not None and inner.is_numeric()) or is_text
            wanted = "lists of numbers"
    if not fits:
        came = "".join(f", such as {shorten(value)}" for value in column.drop_nulls().head(1).to_list())
        raise DataError(
            f"features.{section}: {column.name} is of kind {feature.kind}, which takes {wanted}; "
            f"the column holds {shorten(kind)}{came}"
        )


def _is_token(dtype: object) -> bool:
    return isinstance(dtype, pl.DataType) and (dtype == pl.String or dtype.is_integer())
