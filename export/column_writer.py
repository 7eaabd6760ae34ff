"""The files by which an item column is filtered, made of its JSON text."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchtowers.export.json_table import json_text
from torchtowers.handlers.arrays import save_array
from torchtowers.handlers.column_spec import ColumnSpec
from torchtowers.handlers.item_column import ItemColumn
from torchtowers.handlers.strings import StringTable

__all__ = ["column_of", "write_filter"]

_ROWS_AT_ONCE = 1 << 14
# The integers that float64 holds, all of them.
_EXACT = 1 << 53


def column_of(text: StringTable) -> ItemColumn:
    """Find out what kind of values a column has, and give it as filters compare it.

    Memory holds the distinct values, but for numbers, and not the column's text.

    Args:
        text: Each item's value as JSON text.
    """
    kind, is_list = _kind_of(text)
    lengths: list[NDArray[np.int64]] = [np.zeros(1, np.int64)]
    parts: list[NDArray[Any]] = []
    places: dict[bytes, int] = {}
    for values in _blocks(text):
        if is_list:
            lengths.append(np.array([len(value or ()) for value in values], np.int64))
            values = [element for value in values for element in value or ()]
        if kind == "number":
            parts.append(np.array([np.nan if value is None else value for value in values], np.float64))
        else:
            parts.append(np.array([_place(kind, value, places) for value in values], np.int32))
    found = np.concatenate(parts) if parts else np.empty(0, np.float64 if kind == "number" else np.int32)
    starts = np.cumsum(np.concatenate(lengths)) if is_list else None
    if kind == "number":
        return ItemColumn(text, kind, found, None, starts)
    ordered = sorted(places)
    # One entry more: what is missing, -1, stays -1.
    new = np.full(len(places) + 1, -1, np.int32)
    new[[places[key] for key in ordered]] = np.arange(len(ordered), dtype=np.int32)
    return ItemColumn(text, kind, new[found], StringTable.of_bytes(ordered), starts)


def write_filter(folder: Path, name: str, text: str) -> ColumnSpec:
    """Write the files by which a column is filtered, and give what the signature says of it.

    Args:
        folder: The artifact.
        name: The column's.
        text: The stem of its JSON text, which is written already.
    """
    column = column_of(StringTable.load(folder, text))
    spec = ColumnSpec(text, f"filters/{name}", column.kind, column.starts is not None)
    save_array(folder, spec.values, column.values)
    if column.distinct is not None:
        column.distinct.save(folder, spec.distinct)
    if column.starts is not None:
        save_array(folder, spec.starts, column.starts)
    return spec


def _blocks(text: StringTable) -> Iterator[list[Any]]:
    for first in range(0, len(text), _ROWS_AT_ONCE):
        yield text.take(range(first, min(first + _ROWS_AT_ONCE, len(text)))).json_values("an item column")


def _kind_of(text: StringTable) -> tuple[str, bool]:
    """Give the kind of a column's values, and whether an item has a list of them."""
    outer: set[type] = set()
    inner: set[str] = set()
    for values in _blocks(text):
        kinds = set(map(type, values)) - {type(None)}
        outer |= kinds
        if kinds == {list}:
            values = [element for value in values for element in value or ()]
        inner |= set(map(_kind, values)) - {""}
    is_list = outer == {list}
    if not is_list and list in outer:
        return "other", False
    (kind,) = inner if len(inner) == 1 else ({"text"} if not inner else {"other"})
    return kind, is_list


def _kind(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return "text"
    if isinstance(value, float) or (type(value) is int and abs(value) <= _EXACT):
        return "number"
    return "other"


def _place(kind: str, value: object, places: dict[bytes, int]) -> int:
    """Give a value's place, a new one where it is met for the first time; -1 where it is missing."""
    if value is None:
        return -1
    key = value if kind == "text" and isinstance(value, str) else json_text(value)
    return places.setdefault(key.encode(), len(places))
