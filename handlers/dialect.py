"""One request's body to rows: tells the dialect, and merges the options that stand in several places.

Dialects: plain, `{"user_id": "196", "k": 10}`; TF Serving's and KServe v1's rows, `{"instances": [{"user_id":
"196"}, …]}`; TF Serving's columns, `{"inputs": {"user_id": ["196", …]}}`; and Open Inference v2,
`{"inputs": [{"name": "user_id", "shape": [1], "datatype": "BYTES", "data": ["196"]}]}`. Options stand beside
the features or under `parameters`; beside several rows they hold for each that does not set its own.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from torchtowers.handlers.encoders import Encoder
from torchtowers.handlers.errors import BodyError, FieldError, LimitError, shorten
from torchtowers.handlers.tensors import Column, columns_of_lists, columns_of_tensors

__all__ = ["Request", "request_of"]

R = TypeVar("R")
S = TypeVar("S")
R_co = TypeVar("R_co", covariant=True)

# What an answer of Open Inference holds, and `fields.NAME` for each item column that is asked for.
_OUTPUTS = ("items", "scores", "counts")

# Of TF Serving, and of clients of Open Inference that can also take answers that are not JSON.
_PASSED_OVER = frozenset({"signature_name"})
_PASSED_OVER_PARAMETERS = frozenset({"binary_data_output"})


# Not frozen, like all that is made for each request: a frozen one takes six times as long to make.
@dataclass(slots=True)
class Request(Generic[R]):
    """The rows of one request and what its answer takes from it.

    Args:
        dialect: `plain`, `instances`, `columns` or `open_inference`.
        rows: Them.
        id: Of Open Inference, what the caller calls the request; None without.
        outputs: Of Open Inference, what is asked for of the answer; empty for all.
    """

    dialect: str
    rows: tuple[R, ...]
    id: str | None = None
    outputs: tuple[str, ...] = ()

    def with_rows(self, rows: tuple[S, ...]) -> "Request[S]":
        """Give the same request with other rows, such as encoded ones."""
        return Request(self.dialect, rows, self.id, self.outputs)


class RowReader(Protocol[R_co]):
    """What a kind of model knows of its rows."""

    @property
    def names(self) -> Mapping[str, Encoder]:
        """The features that a row may hold, the id first."""

    @property
    def options(self) -> Collection[str]:
        """Names of the options."""

    @property
    def lists(self) -> Collection[str]:
        """The options that are lists."""

    @property
    def objects(self) -> Collection[str]:
        """The options that are objects."""

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
    if "instances" in body:
        return Request("instances", tuple(_rows_of_instances(body, max_rows, reader)))
    if "inputs" in body:
        return _request_of_inputs(body, max_rows, reader)
    return Request("plain", (_row(body, {}, "", reader),))


def _rows_of_instances(body: Mapping[str, Any], max_rows: int, reader: RowReader[R]) -> Iterator[R]:
    instances = body["instances"]
    if not isinstance(instances, list):
        raise FieldError("instances", instances, "a list of objects")
    if not instances:
        raise BodyError("instances is empty; send at least one row")
    _check_rows("instances", len(instances), max_rows)
    defaults = _shared_options(body, "instances", (), reader)
    for position, instance in enumerate(instances):
        if isinstance(instance, str | int) and not isinstance(instance, bool):
            # As TF Serving has it for a model of one input.
            instance = {next(iter(reader.names)): instance}
        if not isinstance(instance, Mapping):
            raise FieldError(f"instances[{position}]", instance, "an object of features, or an id")
        yield _row(instance, defaults, f"instances[{position}].", reader)


def _request_of_inputs(body: Mapping[str, Any], max_rows: int, reader: RowReader[R]) -> Request[R]:
    inputs = body["inputs"]
    if isinstance(inputs, list) and inputs and not isinstance(inputs[0], Mapping):
        inputs = {next(iter(reader.names)): inputs}  # TF Serving's for a model of one input
    if isinstance(inputs, Mapping):
        defaults = _shared_options(body, "inputs", (), reader)
        columns = columns_of_lists(inputs, reader.names, reader.options)
        return Request("columns", tuple(_rows_of_columns(columns, defaults, max_rows, reader)))
    if not isinstance(inputs, list):
        raise FieldError("inputs", inputs, "a list of tensors, or an object of columns")
    defaults = _shared_options(body, "inputs", ("id", "model_name", "model_version", "outputs"), reader)
    outputs, fields = _outputs(body.get("outputs"), reader)
    if fields:
        defaults["fields"] = tuple(dict.fromkeys((*defaults.get("fields", ()), *fields)))
    name = body.get("id")
    if name is not None and not isinstance(name, str):
        raise FieldError("id", name, "a string")
    columns = columns_of_tensors(inputs, reader.names, reader.options, reader.lists, reader.objects)
    rows = tuple(_rows_of_columns(columns, defaults, max_rows, reader))
    return Request("open_inference", rows, name, outputs)


def _rows_of_columns(
    columns: Sequence[Column], defaults: Mapping[str, Any], max_rows: int, reader: RowReader[R]
) -> Iterator[R]:
    """Give the rows of features and options that each hold a value a row; an option may hold one for all."""
    features = [column for column in columns if column.name in reader.names]
    if not features or not features[0].values:
        raise BodyError(f"inputs hold no row; send at least {next(iter(reader.names))}")
    count = len(features[0].values)
    _check_rows("inputs", count, max_rows)
    shared = dict(defaults)
    own: dict[str, list[object]] = {}
    for column in columns:
        name, values = column.name, column.values
        if name in reader.options and len(values) == 1:
            if values[0] is not None:
                shared[name] = reader.option(name, values[0], column.place)
        elif len(values) != count:
            of_one = ", or 1" if name in reader.options else ""
            raise FieldError(
                column.place,
                len(values),
                f"as many rows as {features[0].name} has, {count}{of_one}, in its first dimension",
            )
        elif name in reader.options:
            own[name] = values
    for position in range(count):
        place = f"rows[{position}]." if count > 1 else ""
        # One that is null is one that is left out: a column has no other way to leave out a row's.
        given = {
            column.name: column.values[position] for column in features if column.values[position] is not None
        }
        options = dict(shared)
        for name, values in own.items():
            if values[position] is not None:
                options[name] = reader.option(name, values[position], f"{place}{name}")
        yield reader.row(given, options, place)


def _check_rows(field: str, count: int, most: int) -> None:
    if count > most:
        raise LimitError(f"{field}: at most {most} rows a request, got {count}", field=field)


def _outputs(given: object, reader: RowReader[Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Give the outputs that are asked for, and the item columns among them."""
    if given is None:
        return (), ()
    if not isinstance(given, list):
        raise FieldError("outputs", given, 'a list such as [{"name": "items"}]')
    names, fields = [], []
    for position, output in enumerate(given):
        place = f"outputs[{position}].name"
        name = output.get("name") if isinstance(output, Mapping) else output
        if isinstance(name, str) and name.startswith("fields.") and "fields" in reader.options:
            column = name.removeprefix("fields.")
            reader.option("fields", [column], place)
            fields.append(column)
        elif name not in _OUTPUTS:
            raise FieldError(place, name, f"one of {', '.join(_OUTPUTS)}, or fields.COLUMN")
        names.append(name)
    return tuple(dict.fromkeys(names)), tuple(fields)


def _row(given: Mapping[str, Any], defaults: Mapping[str, Any], place: str, reader: RowReader[R]) -> R:
    """Check one row; `defaults` are options that were checked where they stand."""
    names, known = reader.names, reader.options
    features: dict[str, object] = {}
    options: dict[str, Any] = dict(defaults)
    parameters = given.get("parameters")
    if parameters is not None:
        options.update(_parameters(parameters, f"{place}parameters", reader))
    for name, value in given.items():
        if name in names:
            features[name] = value
        elif name in known:
            # One that is null is one that is not set, so that a client may send all it knows of.
            if value is not None:
                options[name] = reader.option(name, value, f"{place}{name}")
        elif name != "parameters":
            raise FieldError(
                f"{place}{shorten(name)}", value, f"a known field ({', '.join([*names, *known])})"
            )
    return reader.row(features, options, place)


def _shared_options(
    body: Mapping[str, Any], beside: str, others: Collection[str], reader: RowReader[Any]
) -> dict[str, Any]:
    """Check the options that hold for all rows."""
    options: dict[str, Any] = {}
    if body.get("parameters") is not None:
        options.update(_parameters(body["parameters"], "parameters", reader))
    for name, value in body.items():
        if name in reader.options:
            if value is not None:
                options[name] = reader.option(name, value, name)
        elif name not in ("parameters", beside, *others) and name not in _PASSED_OVER:
            allowed = ", ".join([*reader.options, "parameters"])
            raise FieldError(shorten(name), value, f"beside {beside} one of {allowed}")
    return options


def _parameters(given: object, place: str, reader: RowReader[Any]) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        raise FieldError(place, given, "an object of options")
    options = {}
    for name, value in given.items():
        if name in reader.options:
            if value is not None:
                options[name] = reader.option(name, value, f"{place}.{name}")
        elif name not in _PASSED_OVER_PARAMETERS:
            expected = f"one of the options {', '.join(reader.options)}"
            raise FieldError(f"{place}.{shorten(name)}", value, expected)
    return options
