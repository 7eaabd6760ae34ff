"""What a column is for, guessed from its name, its type and its values."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Literal

import polars as pl

from torchtowers.data.column_profile import ColumnProfile
from torchtowers.data.errors import DataError
from torchtowers.data.times import fitting_unit, to_seconds
from torchtowers.handlers.encoders import seconds_of

__all__ = [
    "Role",
    "check_named",
    "check_times",
    "find_ids",
    "find_label",
    "find_time",
    "role_of",
    "time_unit",
]

Role = Literal[
    "user id",
    "item id",
    "label",
    "time",
    "boolean",
    "number",
    "category",
    "id",
    "text",
    "list",
    "weighted list",
    "vector",
    "other",
]

_USER = (
    "user", "customer", "visitor", "member", "client", "account", "reviewer", "listener", "reader", "session",
    "buyer", "person", "author",
)  # fmt: skip
_ITEM = (
    "item", "product", "movie", "article", "track", "song", "artist", "book", "video", "news", "listing",
    "sku", "asin", "isbn", "business", "recipe", "game", "document", "content", "offer", "course", "job",
    "place", "venue",
)  # fmt: skip
_LABEL = (
    "rating",
    "rate",
    "score",
    "stars",
    "label",
    "clicked",
    "click",
    "liked",
    "like",
    "purchased",
    "target",
)
_TIME = ("time", "timestamp", "ts", "date", "datetime", "unixreviewtime", "at", "created", "updated", "when")
_CODE = ("id", "code", "zip", "postcode")
# More different values than this are no categories.
_FEW, _FEW_NUMBERS, _FEW_TEXTS = 1_000, 12, 50
# Numbers that are no times by their column's name have to be from 1990 on.
_EARLIEST = 631_152_000


def check_named(path: str, columns: Sequence[ColumnProfile], named: Mapping[Role, str]) -> None:
    """Refuse columns that a person named for roles, and that are not there or of another type.

    Raises:
        DataError: The text says which and what there is.
    """
    types = {column.name: column.dtype for column in columns}
    for role, name in named.items():
        if name not in types:
            raise DataError(f"{path}: there is no column {name} for the {role}; there is {', '.join(types)}")
        if list(named.values()).count(name) > 1:
            raise DataError(f"{path}: the column {name} is named twice: each role has a column of its own")
        if not _may_be(role, types[name]):
            raise DataError(f"{path}: the column {name} can't be the {role}, it holds {types[name]}")


def check_times(column: ColumnProfile) -> None:
    """Look at a column's range, or of texts at the first ones.

    Raises:
        DataError: They are no times from 1970 to 2100.
    """
    values = column.sample if column.dtype == pl.String else (column.low, column.high)
    to_seconds(pl.Series(column.name, values), time_unit(column))


def find_ids(columns: Sequence[ColumnProfile]) -> tuple[str | None, str | None]:
    """Name the columns of the users' and the items' ids, None where none looks like one."""
    return _named(columns, _USER), _named(columns, _ITEM)


def find_label(columns: Sequence[ColumnProfile]) -> str | None:
    """Name the column of labels."""
    numbers = [column for column in columns if column.dtype.is_numeric() or column.dtype == pl.Boolean]
    return _first(numbers, _LABEL)


def find_time(columns: Sequence[ColumnProfile]) -> str | None:
    """Name the column of times that the interactions have."""
    times = [column for column in columns if role_of(column) == "time"]
    return _first(times, _TIME) or next((column.name for column in times), None)


def time_unit(column: ColumnProfile) -> str | None:
    """Give the unit of a column of numbers since 1970; None of dates, texts and what is no time."""
    if not column.dtype.is_numeric() or column.high is None:
        return None
    return fitting_unit(column.high)


def _may_be(role: Role, dtype: pl.DataType) -> bool:
    if role == "label":
        return dtype.is_numeric() or dtype == pl.Boolean
    if role == "time":
        return dtype.is_numeric() or dtype in (pl.String, pl.Date, pl.Datetime)
    return dtype.is_integer() or dtype in (pl.String, pl.Categorical, pl.Enum)


def role_of(column: ColumnProfile) -> Role:
    """Guess what a column is that is none of ids, label and time of an interaction."""
    dtype = column.dtype
    if dtype == pl.Boolean:
        return "boolean"
    if dtype in (pl.Date, pl.Datetime) or _is_time(column):
        return "time"
    if dtype.is_numeric():
        return _role_of_numbers(column)
    if isinstance(dtype, pl.List | pl.Array):
        return _role_of_lists(column, dtype.inner)  # type: ignore[arg-type]
    return _role_of_text(column) if dtype == pl.String else "other"


def _is_time(column: ColumnProfile) -> bool:
    if column.dtype == pl.String:
        texts = [text for text in column.sample if text]
        return bool(texts) and all(len(text) >= 8 and seconds_of(text, "s") is not None for text in texts)
    unit = time_unit(column)
    if unit is None or column.low is None or _words(column.name) & set(_CODE):
        return False
    if _words(column.name) & set(_TIME):
        return True
    scale = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    return bool(column.low / scale >= _EARLIEST)


def _role_of_numbers(column: ColumnProfile) -> Role:
    if column.dtype.is_integer():
        if _words(column.name) & set(_CODE):
            return "id"
        if column.distinct == 2 and (column.low, column.high) == (0, 1):
            return "boolean"
        if (column.distinct or 0) <= _FEW_NUMBERS:
            return "category"
    return "number"


def _role_of_lists(column: ColumnProfile, inner: pl.DataType) -> Role:
    if inner.is_float():
        return "vector"
    if isinstance(inner, pl.Struct | pl.List):
        pairs = [
            list(pair.values()) if isinstance(pair, dict) else pair for of in column.sample for pair in of
        ]
        return "weighted list" if pairs and all(_is_pair(pair) for pair in pairs) else "other"
    return "list" if inner == pl.String or inner.is_integer() else "other"


def _role_of_text(column: ColumnProfile) -> Role:
    texts = [text.strip() for text in column.sample if text.strip()]
    if texts and all(text.startswith(("[", "{")) for text in texts):
        return _role_of_json(texts)
    if sum("|" in text for text in texts) > len(texts) / 4 and not any(
        text.startswith("|") for text in texts
    ):
        return _role_of_barred([piece for text in texts for piece in text.split("|") if piece])
    known, distinct = column.rows - column.nulls, column.distinct or 0
    words = sum(len(text.split()) for text in texts) / max(len(texts), 1)
    if distinct <= min(_FEW, max(known / 4, 2)) and (words < 1.5 or distinct <= _FEW_TEXTS):
        return "category"
    return "text" if words >= 1.5 else "id"


def _role_of_json(texts: Sequence[str]) -> Role:
    try:
        values = [json.loads(text) for text in texts]
    except (ValueError, RecursionError):
        return "text"
    if not all(isinstance(value, list) for value in values):
        return "other"
    elements = [element for value in values for element in value]
    if elements and all(_is_pair(element) for element in elements):
        return "weighted list"
    if all(isinstance(element, int | float) for element in elements):
        is_vector = (
            any(isinstance(element, float) for element in elements) and len(set(map(len, values))) == 1
        )
        return "vector" if is_vector else "list"
    return "list" if all(isinstance(element, str) for element in elements) else "other"


def _role_of_barred(pieces: Sequence[str]) -> Role:
    if all(re.fullmatch(r"[-+]?\d*\.\d+(e[-+]?\d+)?", piece, re.IGNORECASE) for piece in pieces):
        return "vector"
    if all(re.fullmatch(r".+:[-+.\deE]+", piece) for piece in pieces):
        return "weighted list"
    return "list"


def _is_pair(value: object) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 2
        and isinstance(value[0], str | int)
        and isinstance(value[1], int | float)
    )


def _named(columns: Sequence[ColumnProfile], nouns: Sequence[str]) -> str | None:
    """Name the column whose name is, or has in it, one of the nouns; with `id` before those without."""
    fitting = [
        column
        for column in columns
        if column.dtype == pl.String or column.dtype.is_numeric() or column.dtype in (pl.Categorical, pl.Enum)
    ]
    exact = [f"{noun}id" for noun in nouns] + list(nouns)
    if "user" in nouns:
        exact.append("uid")
    by_name = {re.sub(r"[^a-z0-9]", "", column.name.lower()): column.name for column in fitting}
    found = next((by_name[name] for name in exact if name in by_name), None)
    if found is not None:
        return found
    containing = [
        column.name for column in fitting if "id" in _words(column.name) and _words(column.name) & set(nouns)
    ]
    return containing[0] if containing else None


def _first(columns: Sequence[ColumnProfile], names: Sequence[str]) -> str | None:
    """Name the column that has the earliest of some words in its name."""
    for name in names:
        for column in columns:
            if name in _words(column.name):
                return column.name
    return None


def _words(name: str) -> set[str]:
    """Give the words of a name such as `item_id`, `ItemID` or `itemId`."""
    return {word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name)}
