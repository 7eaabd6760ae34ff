"""The rows of a request to a retrieval model, and their options."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from torchtowers.handlers.dialect import Request, request_of
from torchtowers.handlers.errors import FieldError, LimitError
from torchtowers.handlers.limits import Limits
from torchtowers.handlers.vocabulary import token_of

__all__ = ["OPTIONS", "RESERVED", "Row", "rows_of"]

OPTIONS = ("k", "exclude", "exclude_history", "fields")
# Also what another kind of model has for an option: a data set's features suit all kinds.
RESERVED = (*OPTIONS, "candidates", "parameters", "instances")


@dataclass(frozen=True)
class Row:
    """One query: its features as they came, and its options.

    Args:
        features: By name, unchecked but for the names.
        k: How many items.
        exclude: Ids that must not come back.
        exclude_history: Whether the items of the history must not come back either.
        fields: Item columns to return.
        place: What stands before a field's name in an error, such as `instances[1].`.
    """

    features: Mapping[str, object]
    k: int
    exclude: tuple[object, ...] = ()
    exclude_history: bool = False
    fields: tuple[str, ...] = ()
    place: str = ""


def rows_of(
    body: object, limits: Limits, features: Collection[str], columns: Collection[str], *, has_history: bool
) -> Request[Row]:
    """Check a parsed body.

    Args:
        body: What came.
        limits: What is allowed.
        features: Names of the query features.
        columns: Names of the item columns that can be asked for.
        has_history: Whether the model knows a history that can be excluded.

    Raises:
        BodyError: There is no JSON object in it, or no row.
        FieldError: A field or option is unknown or of the wrong kind.
        LimitError: More rows or exclusions, or a larger k, than allowed.
    """
    return request_of(body, limits.max_rows, _Reader(limits, features, columns, has_history))


@dataclass(frozen=True)
class _Reader:
    """Checks options against what is allowed and what the model has."""

    limits: Limits
    names: Collection[str]
    columns: Collection[str]
    has_history: bool
    options: tuple[str, ...] = OPTIONS

    def row(self, features: Mapping[str, object], options: Mapping[str, Any], place: str) -> Row:
        """Make a row."""
        k = min(self.limits.default_k, self.limits.max_k)
        return Row(features, **{"k": k, **options}, place=place)

    def option(self, name: str, value: object, field: str) -> object:
        """Check an option's value."""
        match name:
            case "k":
                return _k(value, field, self.limits.max_k)
            case "exclude":
                return _exclude(value, field, self.limits.max_exclude)
            case "exclude_history":
                return _exclude_history(value, field, self.has_history)
            case _:
                return _fields(value, field, self.columns)


def _k(value: object, field: str, most: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise FieldError(field, value, f"an integer from 1 to {most}")
    return value


def _exclude(value: object, field: str, most: int) -> tuple[object, ...]:
    if not isinstance(value, list):
        raise FieldError(field, value, "a list of item ids")
    if len(value) > most:
        raise LimitError(f"{field}: at most {most} items, got {len(value)}", field=field)
    for position, element in enumerate(value):
        if token_of(element) is None:
            raise FieldError(f"{field}[{position}]", element, "a string or an integer")
    return tuple(value)


def _exclude_history(value: object, field: str, has_history: bool) -> bool:
    if not isinstance(value, bool):
        raise FieldError(field, value, "true or false")
    if value and not has_history:
        raise FieldError(field, value, "false, as this model has no history")
    return value


def _fields(value: object, field: str, columns: Collection[str]) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise FieldError(field, value, "a list of item columns")
    for position, name in enumerate(value):
        if not isinstance(name, str) or name not in columns:
            raise FieldError(f"{field}[{position}]", name, f"one of {', '.join(columns) or 'no columns'}")
    return tuple(dict.fromkeys(value))
