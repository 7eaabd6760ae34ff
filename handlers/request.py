"""The rows of a request to a retrieval model, and their options."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torchtowers.handlers.dialect import Request, request_of
from torchtowers.handlers.encoders import Encoder
from torchtowers.handlers.errors import FieldError
from torchtowers.handlers.item_column import ItemColumn
from torchtowers.handlers.limits import Limits
from torchtowers.handlers.restriction import RESTRICTIONS, Restriction, ids_of, restriction_of

__all__ = ["OPTIONS", "RESERVED", "Row", "rows_of"]

OPTIONS = ("k", "exclude", "exclude_history", "fields", *RESTRICTIONS)
# Also what another kind of model has for an option: a data set's features suit all kinds.
RESERVED = (*OPTIONS, "candidates", "parameters", "instances", "inputs", "outputs", "signature_name")

_LISTS = frozenset({"exclude", "include", "fields"})
_OBJECTS = frozenset({"filter", "diversity"})


@dataclass(slots=True)
class Row:
    """One query: its features as they came, and its options.

    Args:
        features: By name, unchecked but for the names.
        k: How many items.
        exclude: Ids that must not come back.
        exclude_history: Whether the items of the history must not come back either.
        fields: Item columns to return.
        candidates: How many items a model of two stages is to rank; None if the row does not say.
        restriction: What else narrows the items; None for nothing.
        place: What stands before a field's name in an error, such as `instances[1].`.
    """

    features: Mapping[str, object]
    k: int
    exclude: tuple[object, ...] = ()
    exclude_history: bool = False
    fields: tuple[str, ...] = ()
    candidates: int | None = None
    restriction: Restriction | None = None
    place: str = ""


def rows_of(
    body: object,
    limits: Limits,
    features: Mapping[str, Encoder],
    columns: Mapping[str, ItemColumn],
    *,
    has_history: bool,
    has_stages: bool = False,
) -> Request[Row]:
    """Check a parsed body.

    Args:
        body: What came.
        limits: What is allowed.
        features: The query's, the id first.
        columns: The items', which can be asked for and filtered by.
        has_history: Whether the model knows a history that can be excluded.
        has_stages: Whether the items found are ranked, so that a row may say how many.

    Raises:
        BodyError: There is no JSON object in it, or no row.
        FieldError: A field or option is unknown or of the wrong kind.
        LimitError: More rows or exclusions, or a larger k, than allowed.
    """
    reader = _StagesReader if has_stages else _Reader
    return request_of(body, limits.max_rows, reader(limits, features, columns, has_history))


class _Reader:
    """Checks options against what is allowed and what the model has."""

    options: tuple[str, ...] = OPTIONS
    lists = _LISTS
    objects = _OBJECTS

    def __init__(
        self,
        limits: Limits,
        names: Mapping[str, Encoder],
        columns: Mapping[str, ItemColumn],
        has_history: bool,
    ) -> None:
        self.limits = limits
        self.names = names
        self.columns = columns
        self.has_history = has_history

    def row(self, features: Mapping[str, object], options: Mapping[str, Any], place: str) -> Row:
        """Make a row."""
        k = min(self.limits.default_k, self.limits.max_k)
        if not options:
            return Row(features, k, place=place)
        own: dict[str, Any] = {"k": k}
        narrowed: dict[str, Any] = {}
        for name, value in options.items():
            (narrowed if name in RESTRICTIONS else own)[name] = value
        return Row(features, **own, restriction=Restriction(**narrowed) if narrowed else None, place=place)

    def option(self, name: str, value: object, field: str) -> object:
        """Check an option's value."""
        match name:
            case "k":
                return _count(value, field, self.limits.max_k)
            case "candidates":
                return _count(value, field, self.limits.max_candidates)
            case "exclude":
                return ids_of(value, field, self.limits.max_exclude)
            case "exclude_history":
                return _exclude_history(value, field, self.has_history)
            case "fields":
                return _fields(value, field, self.columns)
            case _:
                return restriction_of(name, value, field, self.limits, self.columns)


class _StagesReader(_Reader):
    """Also reads how many items are to be ranked."""

    options: tuple[str, ...] = (*OPTIONS, "candidates")


def _count(value: object, field: str, most: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise FieldError(field, value, f"an integer from 1 to {most}")
    return value


def _exclude_history(value: object, field: str, has_history: bool) -> bool:
    if not isinstance(value, bool):
        raise FieldError(field, value, "true or false")
    if value and not has_history:
        raise FieldError(field, value, "false, as this model has no history")
    return value


def _fields(value: object, field: str, columns: Mapping[str, ItemColumn]) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise FieldError(field, value, "a list of item columns")
    for position, name in enumerate(value):
        if not isinstance(name, str) or name not in columns:
            raise FieldError(f"{field}[{position}]", name, f"one of {', '.join(columns) or 'no columns'}")
    return tuple(dict.fromkeys(value))
