"""What a column holds: its type, how many values, from where to where, and a look at the first rows."""

from dataclasses import dataclass
from typing import Any

import polars as pl

from torchtowers.data.errors import DataError, shorten
from torchtowers.data.readers import reason_of

__all__ = ["ColumnProfile", "collected", "profile_columns"]

# Up to so many rows distinct values are counted exactly; above, by a sketch of a few kilobytes.
_EXACT_ROWS = 5_000_000
_SAMPLE = 1_000
_EXAMPLES = 3


@dataclass(frozen=True)
class ColumnProfile:
    """What is known of a column.

    Args:
        name: Of the column.
        dtype: Its type.
        rows: Of the table.
        nulls: Rows without a value.
        distinct: Different values; about so many in a long table, None of lists.
        low: The smallest value of numbers and times.
        high: The largest.
        mean: Of numbers.
        not_finite: Numbers that are NaN or infinite.
        empty: Texts without a character.
        sample: Values of the first rows, without nulls.
    """

    name: str
    dtype: pl.DataType
    rows: int
    nulls: int
    distinct: int | None
    low: Any
    high: Any
    mean: float | None
    not_finite: int
    empty: int
    sample: tuple[Any, ...]

    @property
    def examples(self) -> tuple[str, ...]:
        """The first different values, shortened."""
        return tuple(dict.fromkeys(shorten(value) for value in self.sample))[:_EXAMPLES]


def profile_columns(table: pl.LazyFrame, rows: int) -> tuple[ColumnProfile, ...]:
    """Look at every column, in one pass over the rows.

    Args:
        table: The table.
        rows: How many rows it has.

    Raises:
        DataError: A file can't be read.
    """
    schema = table.collect_schema()
    found = collected(table.select(_figures(schema, exact=rows <= _EXACT_ROWS))).row(0, named=True)
    first = collected(table.head(_SAMPLE))
    return tuple(
        _profile(place, name, dtype, rows, found, first) for place, (name, dtype) in enumerate(schema.items())
    )


def collected(table: pl.LazyFrame) -> pl.DataFrame:
    """Compute a table, a part of its rows at a time.

    Raises:
        DataError: A file can't be read.
    """
    try:
        return table.collect(engine="streaming")
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"can't be read ({reason_of(error)})") from error


def _figures(schema: pl.Schema, *, exact: bool) -> list[pl.Expr]:
    figures = []
    for place, (name, dtype) in enumerate(schema.items()):
        column = pl.col(name)
        found = {"nulls": column.null_count()}
        if not dtype.is_nested() and dtype != pl.Null:
            known = column.drop_nulls()
            found["distinct"] = known.n_unique() if exact else known.approx_n_unique()
        if dtype.is_float():
            finite = column.filter(column.is_finite())
            found["not_finite"] = (~column.is_finite()).sum()
        else:
            finite = column
        if dtype.is_numeric() or dtype.is_temporal():
            found |= {"low": finite.min(), "high": finite.max()}
        if dtype.is_numeric():
            found["mean"] = finite.mean()
        if dtype == pl.String:
            found["empty"] = (column == "").sum()
        figures += [figure.alias(f"{place} {key}") for key, figure in found.items()]
    return figures


def _profile(
    place: int, name: str, dtype: pl.DataType, rows: int, found: dict[str, Any], first: pl.DataFrame
) -> ColumnProfile:
    def figure(key: str, otherwise: Any = None) -> Any:
        return found.get(f"{place} {key}", otherwise)

    return ColumnProfile(
        name,
        dtype,
        rows,
        figure("nulls"),
        figure("distinct", 0 if dtype == pl.Null else None),
        figure("low"),
        figure("high"),
        figure("mean"),
        figure("not_finite", 0),
        figure("empty", 0),
        tuple(first[name].drop_nulls().to_list()),
    )
