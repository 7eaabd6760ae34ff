"""Rows as people have them to rows that can be encoded; what is left out is counted, never silent."""

from difflib import get_close_matches

import polars as pl

from torchtowers.data.config import DataConfig
from torchtowers.data.errors import DataError, shorten
from torchtowers.data.times import to_seconds

__all__ = ["Cleaner", "column_of", "with_ids"]


def column_of(table: pl.DataFrame, name: str, key: str, what: str = "the table") -> pl.Series:
    """Give a column.

    Args:
        table: Where to look.
        name: The column's.
        key: Of the configuration, which names the column.
        what: The table's name.

    Raises:
        DataError: There is none of that name; the text names those that there are, the most alike first.
    """
    if name in table.columns:
        return table[name]
    alike = get_close_matches(name, table.columns, n=3)
    others = [column for column in table.columns if column not in alike]
    raise DataError(
        f"{key}: there is no column {name}; {what} has {', '.join([*alike, *others])}: name one of these, or "
        "add the column"
    )


def with_ids(table: pl.DataFrame, key: str) -> pl.DataFrame:
    """Give the rows that have an id, with ids that are text.

    Args:
        table: Entities or interactions.
        key: The column of the ids.

    Raises:
        DataError: The column is of the wrong type.
    """
    kind = table[key].dtype
    if not (kind == pl.String or kind.is_integer() or kind in (pl.Categorical, pl.Enum, pl.Null)):
        raise DataError(
            f"{key}: ids are text or integers, the column holds {kind}: cast it to integers or text"
        )
    return table.with_columns(pl.col(key).cast(pl.String)).filter(pl.col(key).fill_null("") != "")


class Cleaner:
    """Leaves out rows that can't be used, and counts them.

    `dropped` holds how many rows were left out, by the reason.

    Args:
        data: Which columns are what.
    """

    def __init__(self, data: DataConfig) -> None:
        self._data = data
        self.dropped: dict[str, int] = {}

    def interactions(self, table: pl.DataFrame) -> pl.DataFrame:
        """Give rows with ids that are text, labels that are Float64 and times that are Int64 seconds.

        Raises:
            DataError: A column is missing or of the wrong type.
        """
        data, what = self._data, "the interactions' table"
        for setting, key in (("data.user", data.user), ("data.item", data.item)):
            column_of(table, key, setting, what)
            table = self._with_ids(table, key, f"interactions without {key}")
        if data.label is not None:
            table = self._labelled(table, data.label, what)
        if data.time is not None:
            seconds = to_seconds(column_of(table, data.time, "data.timestamp", what), data.timestamp_unit)
            table = table.with_columns(seconds.alias(data.time))
            table = self._keep(table, pl.col(data.time).is_not_null(), f"interactions without {data.time}")
        return table

    def entities(self, table: pl.DataFrame, key: str) -> pl.DataFrame:
        """Give rows whose ids are text, each id once.

        Raises:
            DataError: There is no such column, or it is of the wrong type, or rows of one id differ.
        """
        name = "user" if key == self._data.user else "item"
        column_of(table, key, f"data.{name}", f"the {name}s' table")
        if not table.height:
            raise DataError(f"data.{name}s: the table has no rows: give it some, or leave data.{name}s out")
        table = self._with_ids(table, key, f"rows of the {key} table without an id")
        distinct = table.unique(maintain_order=True)
        self.count(f"rows that repeat another of the {key} table", table.height - distinct.height)
        conflicting = distinct.filter(pl.col(key).is_duplicated())
        if conflicting.height:
            first, ids = conflicting[key][0], conflicting[key].n_unique()
            rows = conflicting.filter(pl.col(key) == first).height
            raise DataError(
                f"{key}: {shorten(first)} has {rows} rows that differ ({ids:,} ids have such): keep one each"
            )
        return distinct

    def count(self, reason: str, rows: int) -> None:
        """Count rows that were left out."""
        if rows:
            self.dropped[reason] = self.dropped.get(reason, 0) + rows

    def told(self) -> str:
        """Say what was left out, for an error."""
        return ", ".join(f"{count:,} {reason}" for reason, count in self.dropped.items()) or "none"

    def _labelled(self, table: pl.DataFrame, label: str, what: str) -> pl.DataFrame:
        labels = column_of(table, label, "data.rating", what)
        if not (
            labels.dtype.is_numeric() or labels.dtype == pl.Boolean or labels.null_count() == len(labels)
        ):
            odd = labels.filter(labels.cast(pl.Float64, strict=False).is_null() & labels.is_not_null())
            came = f", such as {shorten(odd[0])}" if len(odd) else ""
            raise DataError(
                f"{label}: a label has to be a number, the column holds {labels.dtype}{came}: write numbers, "
                "and nothing where there is none"
            )
        table = table.with_columns(labels.cast(pl.Float64).fill_nan(None))
        table = self._keep(table, pl.col(label).is_not_null(), f"interactions without {label}")
        reason = f"interactions whose {label} is infinite"
        table = self._keep(table, pl.col(label).is_finite(), reason)
        if self._data.minimum_rating is not None:
            reason = f"interactions whose {label} is below {self._data.minimum_rating:g}"
            table = self._keep(table, pl.col(label) >= self._data.minimum_rating, reason)
        return table

    def _with_ids(self, table: pl.DataFrame, key: str, reason: str) -> pl.DataFrame:
        kept = with_ids(table, key)
        self.count(reason, table.height - kept.height)
        return kept

    def _keep(self, table: pl.DataFrame, condition: pl.Expr, reason: str) -> pl.DataFrame:
        kept = table.filter(condition)
        self.count(reason, table.height - kept.height)
        return kept
