"""The options that say which items may come back at all, checked: include, filter, min_score, diversity."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torchtowers.handlers.checks import finite_float
from torchtowers.handlers.errors import FieldError, LimitError, shorten
from torchtowers.handlers.item_column import Condition, ItemColumn
from torchtowers.handlers.limits import Limits
from torchtowers.handlers.vocabulary import token_of

__all__ = ["RESTRICTIONS", "Restriction", "ids_of", "restriction_of"]

RESTRICTIONS = ("include", "filter", "min_score", "diversity")


@dataclass(frozen=True, slots=True)
class Restriction:
    """What narrows one row's items.

    Args:
        include: Only these ids; None for all.
        filter: What each item has to fit, all of it.
        min_score: The least score; None for any.
        diversity: By column, at most how many items of one value.
    """

    include: tuple[object, ...] | None = None
    filter: tuple[Condition, ...] = ()
    min_score: float | None = None
    diversity: tuple[tuple[str, int], ...] = ()

    @property
    def is_of_items(self) -> bool:
        """Whether it says which items are allowed, whatever their score."""
        return self.include is not None or bool(self.filter)


def restriction_of(
    name: str, value: object, field: str, limits: Limits, columns: Mapping[str, ItemColumn]
) -> Any:
    """Check one option of `RESTRICTIONS`, and give what `Restriction` holds of it.

    Args:
        name: The option's.
        value: What came.
        field: Where it stands.
        limits: What is allowed.
        columns: The items'.

    Raises:
        FieldError: It is of the wrong kind, or names no column.
        LimitError: It holds more than allowed.
    """
    match name:
        case "include":
            return ids_of(value, field, limits.max_include)
        case "filter":
            return _filter(value, field, limits, columns)
        case "min_score":
            return _min_score(value, field)
        case _:
            return _diversity(value, field, limits, columns)


def ids_of(value: object, field: str, most: int) -> tuple[object, ...]:
    """Check a list of item ids.

    Raises:
        FieldError: It is no list, or an element is no id.
        LimitError: It is too long.
    """
    if not isinstance(value, list):
        raise FieldError(field, value, "a list of item ids")
    if len(value) > most:
        raise LimitError(f"{field}: at most {most} items, got {len(value)}", field=field)
    for position, element in enumerate(value):
        if token_of(element) is None:
            raise FieldError(f"{field}[{position}]", element, "a string or an integer")
    return tuple(value)


def _filter(
    value: object, field: str, limits: Limits, columns: Mapping[str, ItemColumn]
) -> tuple[Condition, ...]:
    named = _by_column(value, field, limits.max_filter_columns, columns)
    return tuple(
        columns[name].condition(name, wanted, f"{field}.{name}", limits.max_filter_values)
        for name, wanted in sorted(named.items())
    )


def _min_score(value: object, field: str) -> float:
    number = finite_float(value)
    if number is None:
        raise FieldError(field, value, "a finite number")
    return number


def _diversity(
    value: object, field: str, limits: Limits, columns: Mapping[str, ItemColumn]
) -> tuple[tuple[str, int], ...]:
    named = _by_column(value, field, limits.max_diversity_columns, columns)
    for name, most in named.items():
        if not isinstance(most, int) or isinstance(most, bool) or most < 1:
            raise FieldError(f"{field}.{name}", most, "an integer of at least 1, items of one value")
    return tuple(sorted(named.items()))


def _by_column(value: object, field: str, most: int, columns: Mapping[str, ItemColumn]) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise FieldError(field, value, "an object with a key for each item column")
    if len(value) > most:
        raise LimitError(f"{field}: at most {most} columns, got {len(value)}", field=field)
    for name, given in value.items():
        if name not in columns:
            known = ", ".join(columns) or "none"
            raise FieldError(f"{field}.{shorten(name)}", given, f"an item column of this model ({known})")
    return value
