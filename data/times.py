"""Columns of times as seconds since 1970."""

from datetime import UTC, datetime

import polars as pl

from torchtowers.data.errors import DataError, shorten

__all__ = ["fitting_unit", "to_seconds"]

_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
_LATEST = int(datetime(2100, 1, 1, tzinfo=UTC).timestamp())


def to_seconds(column: pl.Series, unit: str | None = None) -> pl.Series:
    """Give times as Int64 seconds since 1970; nulls stay.

    Args:
        column: Dates, datetimes (without a zone they are UTC), or numbers since 1970.
        unit: Of numbers: `s`, `ms`, `us` or `ns`; None takes seconds.

    Raises:
        DataError: The column holds something else, or numbers that are no times of 1970 to 2100 in the unit.
    """
    name, kind = column.name, column.dtype
    if kind in (pl.Date, pl.Datetime):
        return column.cast(pl.Datetime("us")).dt.epoch("s").cast(pl.Int64)
    if not kind.is_numeric():
        raise DataError(
            f"{name}: times are numbers since 1970, dates or datetimes, the column holds {kind}"
            + ("; text can be cast by a reader that knows its format" if kind == pl.String else "")
        )
    if kind.is_float():
        column = column.fill_nan(None)
    seconds = (column / _PER_SECOND[unit or "s"]).floor()
    outside = column.filter(~seconds.is_between(0, _LATEST))
    if outside.len():
        came = outside[0]
        fits = fitting_unit(came)
        hint = f"; as {fits} it is: set data.timestamp_unit={fits}" if fits else ""
        raise DataError(
            f"{name}: got {shorten(came)}, which is no time from 1970 to 2100 in {unit or 's'}{hint}"
        )
    return seconds.cast(pl.Int64)


def fitting_unit(value: float) -> str | None:
    """Give the unit in which a number is a time since 1970: from 1972 to 2100, `s`, `ms`, `us` or `ns`."""
    fits = [unit for unit, scale in _PER_SECOND.items() if _LATEST / 50 <= value / scale <= _LATEST]
    return fits[0] if fits else None
