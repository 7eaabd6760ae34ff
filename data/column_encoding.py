"""Columns of a table to encoded columns, whole columns at a time; each gives what its values would alone."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from torchtowers.data.cleaning import column_of
from torchtowers.data.errors import DataError
from torchtowers.data.ragged import Ragged
from torchtowers.data.times import to_seconds
from torchtowers.handlers.encoders import (
    BucketEncoder,
    Encoder,
    NumberEncoder,
    TimestampEncoder,
    TokenListEncoder,
    VectorEncoder,
    WeightedListEncoder,
)
from torchtowers.handlers.errors import FieldError

__all__ = ["Column", "element_parser", "encode_columns", "numbers_of", "parsed_lists", "taken"]

Column = NDArray[Any] | Ragged

_DTYPES: dict[str, type[np.generic]] = {"int64": np.int64, "float32": np.float32}


def taken(column: Column, rows: NDArray[np.int64]) -> Column:
    """Give some rows of a column, int64 `[rows]`, as a column."""
    if not isinstance(column, Ragged):
        return column[rows]
    return column.ranges(column.offsets[rows], column.offsets[rows + 1])


def encode_columns(
    table: pl.DataFrame, encoders: Mapping[str, Encoder], given: Mapping[str, Column]
) -> dict[str, Column]:
    """Encode columns of a table.

    Args:
        table: With a column for each feature that is not given.
        encoders: By feature.
        given: Columns that are encoded already, such as a history.

    Returns:
        By tensor: `[rows]`, `[rows, width]`, or lists.

    Raises:
        DataError: A value does not fit its encoder.
    """
    columns: dict[str, Column] = {}
    for name, encoder in encoders.items():
        if name in given:
            columns[name] = given[name]
            continue
        try:
            encoded = _encode(column_of(table, name, "features"), encoder, name)
        except FieldError as error:
            raise DataError(f"column {error}") from error
        columns |= {name + spec.suffix: column for spec, column in zip(encoder.tensors, encoded, strict=True)}
    return columns


def numbers_of(column: pl.Series) -> NDArray[np.float64]:
    """Give a column of numbers as float64 `[rows]`, NaN where there is none.

    Raises:
        FieldError: A number is not finite.
    """
    if column.dtype.is_float() and not column.is_finite().all():  # nulls are passed over
        raise FieldError(
            column.name, column.filter(~column.is_finite())[0], "a finite number, or null where there is none"
        )
    numbers: NDArray[np.float64] = column.cast(pl.Float64).fill_null(np.nan).to_numpy()
    return numbers


def parsed_lists(column: pl.Series, parse: Callable[[str], object]) -> list[object]:
    """Give a column's lists; those of a column of text are JSON, or between bars.

    Args:
        column: Of lists, whose elements may be of two fields, or of text.
        parse: Makes a list's element of a piece of text between bars.

    Raises:
        FieldError: A text begins like JSON and is none.
    """
    if column.dtype != pl.String:
        values = column.to_list()
        if isinstance(column.dtype, pl.List) and isinstance(column.dtype.inner, pl.Struct):
            # Parquet has no pairs of a text and a number; a token and its weight are two fields there.
            return [None if row is None else [_fields(pair) for pair in row] for row in values]
        return values
    return [None if text is None else _parsed(text, parse, column.name) for text in column.to_list()]


def _fields(pair: Mapping[str, object] | None) -> object:
    return None if pair is None else list(pair.values())


def element_parser(encoder: Encoder) -> Callable[[str], object]:
    """Say how an encoder's elements are read from a piece of text."""
    if isinstance(encoder, WeightedListEncoder):
        return _pair
    return _number if isinstance(encoder, VectorEncoder) else str


def _encode(column: pl.Series, encoder: Encoder, name: str) -> tuple[Column, ...]:
    if isinstance(encoder, BucketEncoder | NumberEncoder):
        return (encoder.encode_numbers(numbers_of(column)),)
    if isinstance(encoder, TimestampEncoder):
        return (encoder.encode_numbers(numbers_of(to_seconds(column, encoder.unit, f"the unit of {name}"))),)
    if isinstance(encoder, TokenListEncoder | WeightedListEncoder | VectorEncoder):
        if isinstance(encoder, VectorEncoder) and column.dtype != pl.String:
            return (_vectors(column, encoder, name),)
        values = parsed_lists(column, element_parser(encoder))
        return _columns([encoder.encode_value(value, name) for value in values], encoder)
    codes, distinct = _distinct(column)
    encoded = _columns([encoder.encode_value(value, name) for value in distinct], encoder)
    return tuple(taken(part, codes) for part in encoded)


def _distinct(column: pl.Series) -> tuple[NDArray[np.int64], list[object]]:
    """Give each row's place in the list of the column's distinct values, int64 `[rows]`, and that list."""
    # An encoder sees a value once, however many millions of rows hold it.
    if column.dtype == pl.String:
        # A categorical type of its own numbers just the values of this column.
        numbers = column.cast(pl.Categorical(pl.Categories.random())).to_physical().cast(pl.Int64)
        codes = numbers.fill_null(-1).to_numpy() + 1
        # A row of each value; the first place is for null, and holds whatever where there is none.
        rows = np.zeros(int(codes.max(initial=0)) + 1, dtype=np.int64)
        rows[codes] = np.arange(len(codes))
        return codes, [None, *column[rows[1:]].to_list()]
    distinct = column.unique(maintain_order=True)
    order = pl.DataFrame({"value": distinct}).with_row_index("code")
    joined = pl.DataFrame({"value": column}).join(
        order, on="value", how="left", nulls_equal=True, maintain_order="left"
    )
    return joined["code"].to_numpy().astype(np.int64), distinct.to_list()


def _columns(encoded: list[Any], encoder: Encoder) -> tuple[Column, ...]:
    parts: list[Any] = [encoded]
    if len(encoder.tensors) > 1:
        parts = [[row[place] for row in encoded] for place in range(len(encoder.tensors))]
    columns: list[Column] = []
    for spec, part in zip(encoder.tensors, parts, strict=True):
        dtype = _DTYPES[spec.dtype]
        if spec.is_ragged:
            columns.append(Ragged.of(part, dtype))
        else:
            shape = [len(part), *(size for size in spec.shape[1:] if isinstance(size, int))]
            columns.append(np.asarray(part, dtype=dtype).reshape(shape))
    return tuple(columns)


def _vectors(column: pl.Series, encoder: VectorEncoder, name: str) -> NDArray[np.float32]:
    lists = column.cast(pl.List(pl.Float64))
    known = lists.drop_nulls()
    flat = known.explode(empty_as_null=False) if len(known) else pl.Series([], dtype=pl.Float64)
    odd = known.filter(known.list.len() != encoder.width)
    if len(odd) or flat.null_count() or not flat.is_finite().all():
        for value in lists.to_list():  # which names the element
            encoder.encode_value(value, name)
    rows = np.zeros((len(lists), encoder.width), dtype=np.float32)
    rows[lists.is_not_null().to_numpy()] = encoder.encode_rows(flat.to_numpy().reshape(-1, encoder.width))
    return rows


def _parsed(text: str, parse: Callable[[str], object], name: str) -> object:
    text = text.strip()
    if not text.startswith(("[", "{")):
        return [parse(piece) for piece in text.split("|") if piece]
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise FieldError(name, text, "a list as JSON, or with bars between its elements") from None


def _pair(piece: str) -> object:
    token, _, weight = piece.rpartition(":")
    return [token, _number(weight)]


def _number(piece: str) -> object:
    try:
        return float(piece)
    except ValueError:
        return piece  # which is refused where the value is encoded, and named there
