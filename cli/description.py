"""How a description of files is printed for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torchtowers.cli.console import print_table

if TYPE_CHECKING:
    from torchtowers.data.describe import Description, TableDescription

__all__ = ["print_description"]

_COLUMNS = ["column", "type", "role", "nulls", "distinct", "min", "max", "mean", "examples"]
_WIDEST = 30


def print_description(found: Description) -> None:
    """Print tables of columns, how interactions are spread, and what to look at."""
    for name, table in found.tables.items():
        print(f"{name}: {table.path}, {table.rows:,} rows\n")
        print_table(_COLUMNS, _rows(table), left=(0, 1, 2, 8))
        print()
    if found.per_user is not None and found.per_item is not None:
        spreads = {"users": found.per_user, "items": found.per_item}
        header = ["interactions of", "count", *found.per_user.quantiles, "with one only"]
        print_table(
            header,
            [
                [
                    name,
                    f"{spread.count:,}",
                    *(f"{value:,}" for value in spread.quantiles.values()),
                    f"{spread.single:,}",
                ]
                for name, spread in spreads.items()
            ],
        )
        print(f"\n{found.density or 0:.3%} of all pairs of a user and an item have an interaction")
    if found.span is not None:
        print(f"from {found.span[0]} to {found.span[1]}")
    print("\nto look at:" if found.findings else "\nnothing was found to be wrong")
    for finding in found.findings:
        place = finding.table if finding.column is None else f"{finding.table}.{finding.column}"
        print(f"  {place}: {finding.count:,} {finding.text}")


def _rows(table: TableDescription) -> list[list[str]]:
    return [
        [
            column.name,
            _short(str(column.dtype)),
            table.roles[column.name],
            f"{column.nulls:,}",
            "" if column.distinct is None else f"{column.distinct:,}",
            _value(column.low),
            _value(column.high),
            _value(column.mean),
            _short(", ".join(column.examples)),
        ]
        for column in table.columns
    ]


def _value(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else _short(str(value))


def _short(text: str) -> str:
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 1]}…"
