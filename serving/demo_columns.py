"""Item columns for people: which one is the title, and by what a column can be filtered."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from torchtowers.handlers.strings import StringTable

__all__ = ["describe_column", "title_column"]

# A column of more values than these is no choice of a few; what is behind them isn't counted.
_MOST_CHOICES = 100
_LOOKED_AT = 200_000
_TITLES = ("title", "name", "label", "headline")


def describe_column(name: str, table: StringTable) -> dict[str, Any]:
    """Tell what a filter on a column can be.

    Returns:
        `name`; `kind`, which is `number` (with `low` and `high`), `flag` for yes and no, `choice` for one
        value of a few, `choices` for a list of a few (both with `values`, the most frequent first), `text`,
        or `other` for what no filter takes.
    """
    counts: Counter[str] = Counter()
    low, high = float("inf"), float("-inf")
    kinds: set[str] = set()
    for value in _values(table):
        for element in value if isinstance(value, list) else [value]:
            kinds.add(_kind_of(element, listed=isinstance(value, list)))
            if isinstance(element, str) and len(counts) <= _MOST_CHOICES:
                counts[element] += 1
            elif isinstance(element, int | float):
                low, high = min(low, element), max(high, element)
    if kinds == {"number"}:
        return {"name": name, "kind": "number", "low": low, "high": high}
    if kinds == {"flag"}:
        return {"name": name, "kind": "flag"}
    if kinds not in ({"text"}, {"texts"}):
        return {"name": name, "kind": "other"}
    if len(counts) > _MOST_CHOICES:
        return {"name": name, "kind": "text" if kinds == {"text"} else "other"}
    if kinds == {"text"} and 2 * len(counts) > len(table):  # as many as there are items, such as titles
        return {"name": name, "kind": "text"}
    kind = "choice" if kinds == {"text"} else "choices"
    return {"name": name, "kind": kind, "values": [value for value, _ in counts.most_common()]}


def title_column(described: Mapping[str, Mapping[str, Any]]) -> str | None:
    """Choose the column that people know an item by; None where the id has to do.

    Args:
        described: What `describe_column` tells, by name.
    """
    for wanted in _TITLES:
        for name, column in described.items():
            if name.lower() == wanted and column["kind"] in ("text", "choice"):
                return name
    return next((name for name, column in described.items() if column["kind"] == "text"), None)


def _values(table: StringTable) -> Iterator[Any]:
    # Of a large catalogue, items spread over all of it.
    step = max(1, len(table) // _LOOKED_AT)
    for row in range(0, len(table), step):
        value = json.loads(table.raw(row))
        if value is not None:
            yield value


def _kind_of(element: object, *, listed: bool) -> str:
    if isinstance(element, str):
        return "texts" if listed else "text"
    if isinstance(element, int | float) and not listed:
        return "flag" if isinstance(element, bool) else "number"
    return "other"
