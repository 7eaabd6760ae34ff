"""What files hold before anything is made of them: columns, spread of interactions, and what is wrong."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from torchtowers.data.column_profile import ColumnProfile, collected, profile_columns
from torchtowers.data.errors import DataError
from torchtowers.data.findings import (
    Finding,
    column_findings,
    entity_findings,
    has_id,
    pair_findings,
    unknown_findings,
)
from torchtowers.data.readers import scan_table
from torchtowers.data.roles import (
    Role,
    check_named,
    check_times,
    find_ids,
    find_label,
    find_time,
    role_of,
    time_unit,
)
from torchtowers.data.times import to_seconds

__all__ = ["Description", "Spread", "TableDescription", "describe"]

_QUANTILES = {
    "least": 0.0,
    "quarter": 0.25,
    "median": 0.5,
    "three quarters": 0.75,
    "nine tenths": 0.9,
    "most": 1.0,
}


@dataclass(frozen=True)
class Spread:
    """How many interactions the users or the items have.

    Args:
        count: Different ones.
        quantiles: Interactions of one, by the name of the quantile.
        single: How many have one interaction only.
    """

    count: int
    quantiles: Mapping[str, int]
    single: int


@dataclass(frozen=True)
class TableDescription:
    """One table.

    Args:
        path: Where it is.
        rows: How many.
        columns: In the file's order.
        roles: By column, what it is taken for.
    """

    path: str
    rows: int
    columns: tuple[ColumnProfile, ...]
    roles: Mapping[str, Role]

    def column(self, name: str) -> ColumnProfile:
        """Give the column of a name."""
        return next(column for column in self.columns if column.name == name)

    def named(self, role: Role) -> str | None:
        """Name the first column of a role."""
        return next((name for name, found in self.roles.items() if found == role), None)


@dataclass(frozen=True)
class Description:
    """What was found.

    Args:
        interactions: The table of interactions.
        users: That of the users, if it was given.
        items: That of the items.
        per_user: How interactions are spread over users; None where no column has their ids.
        per_item: Likewise over items.
        findings: What a person should look at.
        pairs: Different pairs of a user and an item.
        repeated_pairs: Interactions whose user and item stand in another one, too.
    """

    interactions: TableDescription
    users: TableDescription | None = None
    items: TableDescription | None = None
    per_user: Spread | None = None
    per_item: Spread | None = None
    findings: tuple[Finding, ...] = field(default=())
    pairs: int = 0
    repeated_pairs: int = 0

    @property
    def tables(self) -> dict[str, TableDescription]:
        """The tables that there are, by name."""
        named = {"interactions": self.interactions, "users": self.users, "items": self.items}
        return {name: table for name, table in named.items() if table is not None}

    @property
    def density(self) -> float | None:
        """The part of all pairs of a user and an item that have an interaction."""
        if self.per_user is None or self.per_item is None:
            return None
        every = self.per_user.count * self.per_item.count
        return self.pairs / every if every else None

    @property
    def span(self) -> tuple[str, str] | None:
        """The first and the last time of an interaction, in UTC."""
        name = self.interactions.named("time")
        column = None if name is None else self.interactions.column(name)
        if column is None or column.low is None:
            return None
        low, high = (_moment(value, time_unit(column)) for value in (column.low, column.high))
        return None if low is None or high is None else (low, high)

    def to_dict(self) -> dict[str, Any]:
        """Give all of it as what JSON holds."""
        return {
            "tables": {name: _table_dict(table) for name, table in self.tables.items()},
            "per_user": None if self.per_user is None else vars(self.per_user),
            "per_item": None if self.per_item is None else vars(self.per_item),
            "density": self.density,
            "span": self.span,
            "findings": [vars(finding) for finding in self.findings],
        }


def describe(
    interactions: str | Path,
    users: str | Path | None = None,
    items: str | Path | None = None,
    log: Callable[[str], None] = lambda _: None,
    named: Mapping[Role, str] | None = None,
) -> Description:
    """Look at files of interactions, and of users and items; memory holds their ids, not their rows.

    Args:
        interactions: A file, a folder of shards or a pattern, as in `readers.table_files`.
        users: Likewise of the users.
        items: Likewise of the items.
        log: Told what is looked at, a line each.
        named: The interactions' columns of the roles `user id`, `item id`, `label` and `time`, as far as they
            are not to be guessed.

    Raises:
        DataError: A file is missing, empty, damaged or no table, shards disagree, or a column that is named
            is not there or is none of its role.
    """
    frame, table = _interactions(str(interactions), log, named or {})
    user, item = table.named("user id"), table.named("item id")
    entities = {
        name: _entities(name, str(path), key, log)
        for name, path, key in (("users", users, user), ("items", items, item))
        if path is not None
    }
    findings = column_findings("interactions", table.columns, table.roles)
    per_user = per_item = None
    pairs = repeated = 0
    if user is not None and item is not None:
        log("counting interactions of each user and item")
        per_user, per_item = (_spread(frame, key) for key in (user, item))
        log("looking for repeated rows")
        found, pairs, repeated = pair_findings(frame, user, item, table.rows)
        findings += found
    for name, key in (("users", user), ("items", item)):
        if name not in entities:
            continue
        other, description = entities[name]
        findings += column_findings(name, description.columns, description.roles)
        if key in description.roles:
            findings += entity_findings(name, other, str(key))
            log(f"comparing ids of the interactions and the {name}")
            findings += unknown_findings(name, frame, other, str(key))
        elif key is not None:
            findings.append(
                Finding(
                    name,
                    None,
                    description.rows,
                    f"has no column {key}, the ids of the interactions: rename it",
                )
            )
    described = {name: description for name, (_, description) in entities.items()}
    return Description(
        table,
        described.get("users"),
        described.get("items"),
        per_user,
        per_item,
        tuple(findings),
        pairs,
        repeated,
    )


def _interactions(
    path: str, log: Callable[[str], None], named: Mapping[Role, str]
) -> tuple[pl.LazyFrame, TableDescription]:
    types = _typed(path)
    check_named(path, types, named)
    log(f"reading {path}")
    frame, columns = _profiled(path, [name for name in _ids(types, named) if name is not None])
    if "time" in named:
        check_times(next(column for column in columns if column.name == named["time"]))
    roles: dict[str, Role] = {column.name: role_of(column) for column in columns}
    user, item = _ids(columns, named)
    others = [column for column in columns if column.name not in (user, item, *named.values())]
    label = named.get("label") or find_label(others)
    time = named.get("time") or find_time([column for column in others if column.name != label])
    special: tuple[tuple[str | None, Role], ...] = (
        (user, "user id"),
        (item, "item id"),
        (label, "label"),
        (time, "time"),
    )
    roles |= {name: role for name, role in special if name is not None}
    # The first column of times is the interaction's own.
    ordered = {name: roles[name] for name in (time,) if name is not None} | roles
    return frame, TableDescription(path, columns[0].rows, columns, ordered)


def _ids(columns: Sequence[ColumnProfile], named: Mapping[Role, str]) -> tuple[str | None, str | None]:
    user, item = find_ids([column for column in columns if column.name not in named.values()])
    return named.get("user id", user), named.get("item id", item)


def _entities(
    name: str, path: str, key: str | None, log: Callable[[str], None]
) -> tuple[pl.LazyFrame, TableDescription]:
    log(f"reading {path}")
    frame, columns = _profiled(path, [] if key is None else [key])
    roles: dict[str, Role] = {column.name: role_of(column) for column in columns}
    if key in roles:
        roles[str(key)] = "user id" if name == "users" else "item id"
    return frame, TableDescription(path, columns[0].rows, columns, roles)


def _typed(path: str) -> tuple[ColumnProfile, ...]:
    """Give the columns with their types and nothing else."""
    schema = _scanned(path, ()).collect_schema()
    return tuple(
        ColumnProfile(name, dtype, 0, 0, None, None, None, None, 0, 0, ()) for name, dtype in schema.items()
    )


def _profiled(path: str, text: list[str]) -> tuple[pl.LazyFrame, tuple[ColumnProfile, ...]]:
    frame = _scanned(path, text)
    try:
        rows = collected(frame.select(pl.len())).item()
        if not rows:
            raise DataError("no rows")
        return frame, profile_columns(frame, rows)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def _scanned(path: str, text: list[str] | tuple[()]) -> pl.LazyFrame:
    frame = scan_table(path, text)
    if not frame.collect_schema():
        raise DataError(f"{path}: no columns")
    return frame


def _spread(frame: pl.LazyFrame, key: str) -> Spread:
    counts = collected(frame.select(key).filter(has_id(key)).group_by(key).len())["len"]
    quantiles = {name: int(counts.quantile(part, "nearest") or 0) for name, part in _QUANTILES.items()}
    return Spread(len(counts), quantiles, int((counts == 1).sum()))


def _table_dict(table: TableDescription) -> dict[str, Any]:
    return {
        "path": table.path,
        "rows": table.rows,
        "columns": [
            {
                "name": column.name,
                "type": str(column.dtype),
                "role": table.roles[column.name],
                "unit": time_unit(column) if table.roles[column.name] == "time" else None,
                "nulls": column.nulls,
                "distinct": column.distinct,
                "min": _plain(column.low),
                "max": _plain(column.high),
                "mean": column.mean,
                "examples": column.examples,
            }
            for column in table.columns
        ],
    }


def _moment(value: Any, unit: str | None) -> str | None:
    try:
        seconds = to_seconds(pl.Series("time", [value]), unit)[0]
    except DataError:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(sep=" ")[:19]


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, int | float) else str(value)
