"""One request's body to rows: tells the dialect, checks the options.

Dialects: plain, `{"user_id": "196", "k": 10}`; and TF Serving's and KServe v1's,
`{"instances": [{"user_id": "196"}, …]}`. Options stand beside the features or under `parameters`; beside
`instances` they hold for every row that does not set its own.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from typing import Any

from torchtowers.handlers.body import json_of
from torchtowers.handlers.encoders import Encoder
from torchtowers.handlers.errors import ArtifactError, BodyError, FieldError, LimitError, shorten
from torchtowers.handlers.vocabulary import token_of

__all__ = ["OPTIONS", "RESERVED", "Limits", "Request", "Row", "parse_request", "rows_of"]

OPTIONS = ("k", "exclude", "exclude_history", "fields")
RESERVED = (*OPTIONS, "parameters", "instances")


@dataclass(frozen=True)
class Limits:
    """What a server is configured to answer; `torchtowers:` in an archive's model-config.yaml.

    Args:
        default_k: Items of a row that does not say; never more than max_k.
        max_k: The largest k; a k within it but above the catalogue gets the whole catalogue.
        max_rows: Rows of one request.
        max_exclude: Items that one row may exclude.
        max_answer_bytes: Of one answer; TorchServe kills a worker whose answer is over `max_response_size`.
    """

    default_k: int = 10
    max_k: int = 10_000
    max_rows: int = 1_000
    max_exclude: int = 10_000
    max_answer_bytes: int = 6_000_000

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "Limits":
        """Take the limits from a configuration that may hold other keys.

        Raises:
            ArtifactError: A limit is not a positive integer.
        """
        given = {field.name: config[field.name] for field in fields(cls) if field.name in config}
        for name, value in given.items():
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ArtifactError(f"torchtowers.{name}: expected a positive integer, got {shorten(value)}")
        return cls(**given)


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


@dataclass(frozen=True)
class Request:
    """The rows of one request and the dialect that its answer takes: `plain` or `instances`."""

    dialect: str
    rows: tuple[Row, ...]


def parse_request(
    item: Mapping[str, object],
    limits: Limits,
    features: Mapping[str, Encoder],
    columns: Collection[str],
    *,
    has_history: bool,
) -> Request:
    """Parse what TorchServe hands a handler for one request.

    Args:
        item: By the name of a form field or gRPC input; `body` for a request that is no form.
        limits: What is allowed.
        features: The query features and their encoders.
        columns: Names of the item columns that can be asked for.
        has_history: Whether the model knows a history that can be excluded.

    Raises:
        BodyError: There is no JSON object in it, or no row.
        FieldError: A field or option is unknown or of the wrong kind.
        LimitError: More rows or exclusions, or a larger k, than allowed.
    """
    return rows_of(json_of(item, features), limits, features, columns, has_history=has_history)


def rows_of(
    body: object, limits: Limits, features: Collection[str], columns: Collection[str], *, has_history: bool
) -> Request:
    """Check a parsed body; see `parse_request`."""
    if not isinstance(body, Mapping):
        raise BodyError(f'expected a JSON object such as {{"user_id": "196"}}, got {shorten(body)}')
    reader = _RowReader(limits, features, columns, has_history)
    if "instances" not in body:
        return Request("plain", (reader.row(body, {}, ""),))
    instances = body["instances"]
    if not isinstance(instances, list):
        raise FieldError("instances", instances, "a list of objects")
    if not instances:
        raise BodyError("instances is empty; send at least one row")
    if len(instances) > limits.max_rows:
        raise LimitError(
            f"instances: at most {limits.max_rows} rows a request, got {len(instances)}", field="instances"
        )
    shared = {name: value for name, value in body.items() if name != "instances"}
    for name, value in shared.items():
        if name not in OPTIONS and name != "parameters":
            allowed = ", ".join([*OPTIONS, "parameters"])
            raise FieldError(shorten(name), value, f"beside instances one of {allowed}")
    defaults = reader.options(shared, "")
    rows = []
    for position, instance in enumerate(instances):
        place = f"instances[{position}]"
        if not isinstance(instance, Mapping):
            raise FieldError(place, instance, "an object of features")
        rows.append(reader.row(instance, defaults, f"{place}."))
    return Request("instances", tuple(rows))


@dataclass(frozen=True)
class _RowReader:
    """Checks rows and their options against what is allowed and what the model has."""

    limits: Limits
    features: Collection[str]
    columns: Collection[str]
    has_history: bool

    def row(self, given: Mapping[str, Any], defaults: Mapping[str, Any], place: str) -> Row:
        """Check one row; `defaults` are options that were checked where they stand."""
        for name, value in given.items():
            if name not in self.features and name not in OPTIONS and name != "parameters":
                allowed = ", ".join([*self.features, *OPTIONS])
                raise FieldError(f"{place}{shorten(name)}", value, f"a known field ({allowed})")
        features = {name: value for name, value in given.items() if name in self.features}
        k = min(self.limits.default_k, self.limits.max_k)
        return Row(features, **{"k": k, **defaults, **self.options(given, place)}, place=place)

    def options(self, given: Mapping[str, Any], place: str) -> dict[str, Any]:
        """Check the options that are set in `given` or its `parameters`; the former go first."""
        parameters = given.get("parameters")
        if parameters is None:
            parameters = {}
        if not isinstance(parameters, Mapping):
            raise FieldError(f"{place}parameters", parameters, "an object of options")
        for name, value in parameters.items():
            if name not in OPTIONS:
                field = f"{place}parameters.{shorten(name)}"
                raise FieldError(field, value, f"one of the options {', '.join(OPTIONS)}")
        options = {}
        for name in OPTIONS:
            # One that is null is one that is not set, so that a client may send all it knows of.
            if given.get(name) is not None:
                options[name] = self._option(name, given[name], f"{place}{name}")
            elif parameters.get(name) is not None:
                options[name] = self._option(name, parameters[name], f"{place}parameters.{name}")
        return options

    def _option(self, name: str, value: object, field: str) -> object:
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
