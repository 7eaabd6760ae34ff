"""One request's body to rows: tells the dialect, checks the options.

Dialects: plain, `{"user_id": "196", "k": 10}`; and TF Serving's and KServe v1's,
`{"instances": [{"user_id": "196"}, …]}`. Options stand beside the features or under `parameters`; beside
`instances` they hold for every row that does not set its own.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from typing import Any

from torchtowers.handlers.body import json_of
from torchtowers.handlers.encoders import Encoder, token_of
from torchtowers.handlers.errors import ArtifactError, BodyError, FieldError, LimitError, shorten

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
    item: Mapping[str, object], limits: Limits, features: Mapping[str, Encoder], columns: Collection[str]
) -> Request:
    """Parse what TorchServe hands a handler for one request.

    Args:
        item: By the name of a form field or gRPC input; `body` for a request that is no form.
        limits: What is allowed.
        features: The query features and their encoders.
        columns: Names of the item columns that can be asked for.

    Raises:
        BodyError: There is no JSON object in it, or no row.
        FieldError: A field or option is unknown or of the wrong kind.
        LimitError: More rows or exclusions, or a larger k, than allowed.
    """
    return rows_of(json_of(item, features), limits, features, columns)


def rows_of(body: object, limits: Limits, features: Collection[str], columns: Collection[str]) -> Request:
    """Check a parsed body; see `parse_request`."""
    if not isinstance(body, Mapping):
        raise BodyError(f'expected a JSON object such as {{"user_id": "196"}}, got {shorten(body)}')
    if "instances" not in body:
        return Request("plain", (_row(body, {}, "", limits, features, columns),))
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
    defaults = _options(shared, "")
    for name, value in shared.items():
        if name not in OPTIONS and name != "parameters":
            allowed = ", ".join([*OPTIONS, "parameters"])
            raise FieldError(shorten(name), value, f"beside instances one of {allowed}")
    rows = []
    for position, instance in enumerate(instances):
        place = f"instances[{position}]"
        if not isinstance(instance, Mapping):
            raise FieldError(place, instance, "an object of features")
        rows.append(_row(instance, defaults, f"{place}.", limits, features, columns))
    return Request("instances", tuple(rows))


def _options(given: Mapping[str, Any], place: str) -> dict[str, Any]:
    # An option that is null is one that is not set, so that a client may send all it knows of.
    options = {name: given[name] for name in OPTIONS if given.get(name) is not None}
    parameters = given.get("parameters")
    if parameters is None:
        return options
    if not isinstance(parameters, Mapping):
        raise FieldError(f"{place}parameters", parameters, "an object of options")
    for name, value in parameters.items():
        if name not in OPTIONS:
            raise FieldError(
                f"{place}parameters.{shorten(name)}", value, f"one of the options {', '.join(OPTIONS)}"
            )
        if value is not None:
            options.setdefault(name, value)
    return options


def _row(
    given: Mapping[str, Any],
    defaults: Mapping[str, Any],
    place: str,
    limits: Limits,
    features: Collection[str],
    columns: Collection[str],
) -> Row:
    options = {**defaults, **_options(given, place)}
    row_features = {name: value for name, value in given.items() if name in features}
    for name, value in given.items():
        if name not in features and name not in OPTIONS and name != "parameters":
            allowed = ", ".join([*features, *OPTIONS])
            raise FieldError(f"{place}{shorten(name)}", value, f"a known field ({allowed})")
    return Row(
        features=row_features,
        k=_k(options.get("k"), place, limits),
        exclude=_exclude(options.get("exclude"), place, limits),
        exclude_history=_flag(options.get("exclude_history"), f"{place}exclude_history"),
        fields=_fields(options.get("fields"), place, columns),
        place=place,
    )


def _k(value: object, place: str, limits: Limits) -> int:
    if value is None:
        return min(limits.default_k, limits.max_k)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= limits.max_k:
        raise FieldError(f"{place}k", value, f"an integer from 1 to {limits.max_k}")
    return value


def _exclude(value: object, place: str, limits: Limits) -> tuple[object, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise FieldError(f"{place}exclude", value, "a list of item ids")
    if len(value) > limits.max_exclude:
        raise LimitError(
            f"{place}exclude: at most {limits.max_exclude} items, got {len(value)}", field=f"{place}exclude"
        )
    for position, element in enumerate(value):
        if token_of(element) is None:
            raise FieldError(f"{place}exclude[{position}]", element, "a string or an integer")
    return tuple(value)


def _flag(value: object, field: str) -> bool:
    if value is None or isinstance(value, bool):
        return bool(value)
    raise FieldError(field, value, "true or false")


def _fields(value: object, place: str, columns: Collection[str]) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise FieldError(f"{place}fields", value, "a list of item columns")
    for position, name in enumerate(value):
        if not isinstance(name, str) or name not in columns:
            raise FieldError(
                f"{place}fields[{position}]", name, f"one of {', '.join(columns) or 'no columns'}"
            )
    return tuple(dict.fromkeys(value))
