"""Values that can't be right, rows that repeat others, ids that are nowhere else."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import polars as pl

from torchtowers.data.column_profile import ColumnProfile, collected
from torchtowers.data.roles import Role, time_unit

__all__ = ["Finding", "column_findings", "entity_findings", "has_id", "pair_findings", "unknown_findings"]

# Rows whose hashes are held at once, eight bytes each.
_ROWS_AT_ONCE = 20_000_000
_NEVER_NEGATIVE = ("age", "count", "price", "quantity", "duration", "year", "length", "weight", "amount")
_OLDEST = 130
_IDS = ("user id", "item id")
_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


@dataclass(frozen=True)
class Finding:
    """Something to look at.

    Args:
        table: `interactions`, `users` or `items`.
        column: Which column; None is of whole rows.
        count: Rows that it is about.
        text: What it is, and what becomes of it or what to do.
    """

    table: str
    column: str | None
    count: int
    text: str


def column_findings(table: str, columns: Sequence[ColumnProfile], roles: Mapping[str, Role]) -> list[Finding]:
    """Look at each column by itself."""
    return [
        Finding(table, column.name, count, text)
        for column in columns
        for count, text in _of_column(column, roles[column.name])
    ]


def pair_findings(table: pl.LazyFrame, user: str, item: str, rows: int) -> tuple[list[Finding], int, int]:
    """Look for interactions that repeat others; also gives the different pairs, and how many repeat one."""
    whole, _ = _distinct(table, table.collect_schema().names(), rows)
    repeated, pairs = _distinct(table.filter(has_id(user) & has_id(item)), [user, item], rows)
    findings = []
    if whole:
        findings.append(Finding("interactions", None, whole, "repeat another row in every column"))
    if repeated:
        findings.append(
            Finding(
                "interactions",
                None,
                repeated,
                "repeat a user and an item: data.duplicates says which one is kept",
            )
        )
    return findings, pairs, repeated


def has_id(key: str) -> pl.Expr:
    """Say of each row whether it has an id, as training looks at it."""
    return pl.col(key).cast(pl.String).fill_null("") != ""


def entity_findings(name: str, table: pl.LazyFrame, key: str) -> list[Finding]:
    """Look for ids that stand in several rows."""
    columns = table.collect_schema().names()
    counts = collected(
        table.filter(pl.col(key).is_not_null())
        .select(key, pl.struct(columns).hash().alias("__row"))
        .group_by(key)
        .agg(pl.len().alias("rows"), pl.col("__row").n_unique().alias("different"))
        .filter(pl.col("rows") > 1)
    )
    same = int((counts["rows"] - counts["different"]).sum())
    differ = int((counts["different"] > 1).sum())
    findings = []
    if same:
        findings.append(Finding(name, key, same, "repeat another row in every column: one of each is kept"))
    if differ:
        findings.append(
            Finding(
                name, key, differ, "ids have several rows that differ: training refuses them, keep one each"
            )
        )
    return findings


def unknown_findings(
    name: str, interactions: pl.LazyFrame, entities: pl.LazyFrame, key: str
) -> list[Finding]:
    """Compare the ids of the interactions with those of the users' or the items' table."""
    used = interactions.select(pl.col(key).cast(pl.String)).drop_nulls()
    known = entities.select(pl.col(key).cast(pl.String)).drop_nulls().unique()
    unknown = collected(used.join(known, on=key, how="anti").select(pl.len())).item()
    unused = collected(known.join(used.unique(), on=key, how="anti").select(pl.len())).item()
    findings = []
    if unknown:
        findings.append(
            Finding(
                "interactions", key, unknown, f"name an id that the {name} do not have: they are left out"
            )
        )
    if unused:
        findings.append(Finding(name, key, unused, "have no interaction"))
    return findings


def _of_column(column: ColumnProfile, role: Role) -> Iterator[tuple[int, str]]:
    known = column.rows - column.nulls
    if not known:
        yield column.rows, "every value is null"
        return
    if role in _IDS:
        if column.nulls:
            yield column.nulls, "have no id: they are left out"
        if column.dtype.is_float():
            yield known, f"ids are {column.dtype}: cast them to integers or text"
    if column.empty:
        yield column.empty, "are empty" + (": they are left out" if role in _IDS else "")
    if column.not_finite:
        yield column.not_finite, "are NaN or infinite"
    if column.distinct == 1 and column.rows > 1:
        yield known, "hold one and the same value: there is nothing to learn from it"
    if role == "time":
        yield from _of_times(column, known)
    elif column.dtype.is_numeric() and column.low is not None:
        yield from _of_numbers(column, known)


def _of_times(column: ColumnProfile, known: int) -> Iterator[tuple[int, str]]:
    if column.dtype == pl.String:
        return
    unit = time_unit(column)
    if unit not in (None, "s"):
        yield known, f"count {unit} since 1970, not seconds: data.timestamp_unit says so, or a feature's unit"
    low, high = (_seconds(value, unit) for value in (column.low, column.high))
    if low is not None and low < 0:
        yield known, f"go back to before 1970, the smallest is {column.low}"
    if low is not None and high is not None and unit is not None and low < high / 500:
        yield known, f"differ so much, from {column.low} to {column.high}, that their unit may not be one"
    if high is not None and high > datetime.now(UTC).timestamp():
        yield known, f"go on into the future, the largest is {column.high}"


def _of_numbers(column: ColumnProfile, known: int) -> Iterator[tuple[int, str]]:
    words = column.name.lower().replace("-", "_").split("_")
    if column.low < 0 and any(word in _NEVER_NEGATIVE for word in words):
        yield known, f"have negative values among them, the smallest is {column.low}"
    if "age" in words and column.high > _OLDEST:
        yield known, f"have ages above {_OLDEST} among them, the largest is {column.high}"


def _seconds(value: Any, unit: str | None) -> float | None:
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC).timestamp()
    if isinstance(value, int | float):
        return value / _PER_SECOND[unit or "s"]
    return None


def _distinct(table: pl.LazyFrame, columns: Sequence[str], rows: int) -> tuple[int, int]:
    """Count the rows whose values in some columns stand in an earlier one, and the others."""
    hashed = table.select(pl.struct(columns).hash().alias("row"))
    parts = -(-rows // _ROWS_AT_ONCE)
    repeated = distinct = 0
    for part in range(parts):
        chosen = hashed.filter(pl.col("row") % parts == part) if parts > 1 else hashed
        counted = collected(
            chosen.select(pl.len().alias("rows"), pl.col("row").n_unique().alias("different"))
        )
        different = int(counted["different"].item())
        distinct += different
        repeated += int(counted["rows"].item()) - different
    return repeated, distinct
