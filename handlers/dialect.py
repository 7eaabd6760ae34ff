"""One request's body to rows: tells the dialect, and merges the options that stand in several places.

Dialects: plain, `{"user_id": "196", "k": 10}`; and TF Serving's and KServe v1's,
`{"instances": [{"user_id": "196"}, …]}`. Options stand beside the features or under `parameters`; beside
`instances` they hold for every row that does not set its own.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from torchtowers.handlers.errors import BodyError, FieldError, LimitError, shorten

__all__ = ["Request", "request_of"]

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


@dataclass(frozen=True)
class Request(Generic[R]):
    """The rows of one request and the dialect that its answer takes: `plain` or `instances`."""

    dialect: str
    rows: tuple[R, ...]


class RowReader(Protocol[R_co]):
    """What a kind of model knows of its rows."""

    @property
    def names(self) -> Collection[str]:
        """Names of the features that a row may hold."""

    @property
    def options(self) -> tuple[str, ...]:
        """Names of the options."""

    def option(self, name: str, value: object, field: str) -> object:
        """Check an option's value; `field` is its place in an error."""

    def row(self, features: Mapping[str, object], options: Mapping[str, Any], place: str) -> R_co:
        """Make a row of features that have a known name and of options that were checked."""


def request_of(body: object, max_rows: int, reader: RowReader[R]) -> Request[R]:
    """Read a parsed body.

    Args:
        body: What came.
        max_rows: Rows of one request.
        reader: Of the model's own rows.

    Raises:
        BodyError: It is no JSON object, or holds no row.
        FieldError: A field or option is unknown or of the wrong kind.
        LimitError: More than allowed.
    """
    if not isinstance(body, Mapping):
        raise BodyError(f'expected a JSON object such as {{"user_id": "196"}}, got {shorten(body)}')
    if "instances" not in body:
        return Request("plain", (_row(body, {}, "", reader),))
    instances = body["instances"]
    if not isinstance(instances, list):
        raise FieldError("instances", instances, "a list of objects")
    if not instances:
        raise BodyError("instances is empty; send at least one row")
    if len(instances) > max_rows:
        raise LimitError(
            f"instances: at most {max_rows} rows a request, got {len(instances)}", field="instances"
        )
    shared = {name: value for name, value in body.items() if name != "instances"}
    for name, value in shared.items():
        if name not in reader.options and name != "parameters":
            allowed = ", ".join([*reader.options, "parameters"])
            raise FieldError(shorten(name), value, f"beside instances one of {allowed}")
    defaults = _options(shared, "", reader)
    rows = []
    for position, instance in enumerate(instances):
        place = f"instances[{position}]"
        if not isinstance(instance, Mapping):
            raise FieldError(place, instance, "an object of features")
        rows.append(_row(instance, defaults, f"{place}.", reader))
    return Request("instances", tuple(rows))


def _row(given: Mapping[str, Any], defaults: Mapping[str, Any], place: str, reader: RowReader[R]) -> R:
    """Check one row; `defaults` are options that were checked where they stand."""
    for name, value in given.items():
        if name not in reader.names and name not in reader.options and name != "parameters":
            allowed = ", ".join([*reader.names, *reader.options])
            raise FieldError(f"{place}{shorten(name)}", value, f"a known field ({allowed})")
    features = {name: value for name, value in given.items() if name in reader.names}
    return reader.row(features, {**defaults, **_options(given, place, reader)}, place)


def _options(given: Mapping[str, Any], place: str, reader: RowReader[Any]) -> dict[str, Any]:
    """Check the options that are set in `given` or its `parameters`; the former go first."""
    parameters = given.get("parameters")
    if parameters is None:
        parameters = {}
    if not isinstance(parameters, Mapping):
        raise FieldError(f"{place}parameters", parameters, "an object of options")
    for name, value in parameters.items():
        if name not in reader.options:
            field = f"{place}parameters.{shorten(name)}"
            raise FieldError(field, value, f"one of the options {', '.join(reader.options)}")
    options = {}
    for name in reader.options:
        # One that is null is one that is not set, so that a client may send all it knows of.
        if given.get(name) is not None:
            options[name] = reader.option(name, given[name], f"{place}{name}")
        elif parameters.get(name) is not None:
            options[name] = reader.option(name, parameters[name], f"{place}parameters.{name}")
    return options
