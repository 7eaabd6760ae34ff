"""Columns of times as seconds since 1970."""

from datetime import UTC, datetime

import polars as pl

from torchtowers.data.errors import DataError, shorten
from torchtowers.handlers.encoders import seconds_of

__all__ = ["fitting_unit", "to_seconds"]

_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
_LATEST = int(datetime(2100, 1, 1, tzinfo=UTC).timestamp())
# As most texts are written, behind a day a space for the T and a number for the Z.
_FORMATS = ("%Y-%m-%d %H:%M:%S%.f%:z", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d")


def to_seconds(column: pl.Series, unit: str | None = None, setting: str = "data.timestamp_unit") -> pl.Series:
    """Give times as Int64 seconds since 1970; nulls stay.

    Args:
        column: Dates, datetimes, ISO 8601 texts (without a zone they are UTC), or numbers since 1970.
        unit: Of numbers: `s`, `ms`, `us` or `ns`; None takes seconds.
        setting: The key that says the unit, for errors.

    Raises:
        DataError: The column holds something else, or numbers or texts that are no times of 1970 to 2100.
    """
    name, kind = column.name, column.dtype
    if kind in (pl.Date, pl.Datetime):
        return column.cast(pl.Datetime("us")).dt.epoch("s").cast(pl.Int64)
    if kind == pl.String:
        return _of_texts(column)
    if not (kind.is_numeric() or kind == pl.Null):
        raise DataError(
            f"{name}: times are numbers since 1970, dates, datetimes or ISO 8601 texts, and the column "
            f"holds {kind}"
        )
    if kind.is_float():
        column = column.fill_nan(None)
    seconds = (column.cast(pl.Float64) / _PER_SECOND[unit or "s"]).floor()
    outside = column.filter(~seconds.is_between(0, _LATEST))
    if outside.len():
        came = outside[0]
        fits = fitting_unit(came)
        hint = f"; as {fits} it is: set {setting} to {fits}" if fits else ""
        raise DataError(
            f"{name}: got {shorten(came)}, which is no time from 1970 to 2100 in {unit or 's'}{hint}"
        )
    return seconds.cast(pl.Int64)


def fitting_unit(value: float) -> str | None:
    """Give the unit in which a number is a time since 1970: from 1972 to 2100, `s`, `ms`, `us` or `ns`."""
    fits = [unit for unit, scale in _PER_SECOND.items() if _LATEST / 50 <= value / scale <= _LATEST]
    return fits[0] if fits else None


def _of_texts(column: pl.Series) -> pl.Series:
    """Read ISO 8601 texts; an empty one is null."""
    texts = column.str.strip_chars().replace("", None)
    spaced = texts.str.replace("T", " ", literal=True).str.replace("Z$", "+00:00")
    seconds = pl.Series(column.name, [None], dtype=pl.Int64).new_from_index(0, len(texts))
    for form in _FORMATS:
        if seconds.null_count() > texts.null_count():
            read = spaced.str.to_datetime(form, strict=False, time_unit="us").dt.epoch("s")
            seconds = seconds.zip_with(seconds.is_not_null(), read)
    left = texts.filter(seconds.is_null() & texts.is_not_null()).unique(maintain_order=True)
    if len(left):
        # Whatever else Python's reader takes, as in a request.
        others = {text: seconds_of(text, "s") for text in left}
        read = texts.replace_strict(others, default=None, return_dtype=pl.Float64).cast(pl.Int64)
        seconds = seconds.zip_with(seconds.is_not_null(), read)
    odd = texts.filter(texts.is_not_null() & ~seconds.is_between(0, _LATEST).fill_null(False))
    if len(odd):
        # In a column of numbers, what made it one of texts.
        words = odd.filter(odd.cast(pl.Float64, strict=False).is_null())
        raise DataError(
            f"{column.name}: got {shorten((words if len(words) else odd)[0])}, which is no time: expected "
            "2024-03-01 or 2024-03-01T12:30:00Z, from 1970 to 2100, or a column of numbers since 1970"
        )
    return seconds.rename(column.name)
