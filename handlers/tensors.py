"""The tensors of Open Inference v2, and TF Serving's columns, to a value for each row."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torchtowers.handlers.encoders import Encoder, HashedWordsEncoder, WeightedListEncoder, WordsEncoder
from torchtowers.handlers.errors import FieldError, shorten

__all__ = ["Column", "columns_of_lists", "columns_of_tensors"]

_DATATYPES = {
    "BYTES": "a string",
    "BOOL": "true or false",
    **dict.fromkeys([f"{sign}INT{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)], "an integer"),
    **dict.fromkeys(["FP16", "FP32", "FP64", "BF16"], "a number"),
}


@dataclass(frozen=True)
class Column:
    """A feature or an option with a value for each row.

    Args:
        name: Its name.
        values: A value a row; None is missing.
        place: Where it stands in the request.
    """

    name: str
    values: list[object]
    place: str


def columns_of_lists(
    inputs: Mapping[Any, Any], names: Mapping[str, Encoder], options: Collection[str]
) -> list[Column]:
    """Read TF Serving's columns, `{"user_id": ["196", "22"]}`; an element that is a list is a row's list.

    Raises:
        FieldError: A name is unknown, or a column is no list.
    """
    columns = []
    for name, values in inputs.items():
        place = f"inputs.{shorten(name)}"
        _checked_name(name, place, names, options)
        if not isinstance(values, list):
            raise FieldError(place, values, "a list of a value for each row")
        columns.append(Column(name, values, place))
    return columns


def columns_of_tensors(
    inputs: Sequence[object],
    names: Mapping[str, Encoder],
    options: Collection[str],
    lists: Collection[str],
    objects: Collection[str],
) -> list[Column]:
    """Read the tensors of Open Inference v2.

    The first dimension is the rows'. A second one holds a row's list, of texts without the empty ones, which
    pad shorter lists. Objects, and what else is no text, may be BYTES with JSON in it.

    Args:
        inputs: The tensors.
        names: The features.
        options: The options.
        lists: The options that are lists.
        objects: The options that are objects.

    Raises:
        FieldError: A tensor is malformed, or its name is unknown or there twice.
    """
    columns: dict[str, Column] = {}
    for position, tensor in enumerate(inputs):
        place = f"inputs[{position}]"
        if not isinstance(tensor, Mapping):
            raise FieldError(place, tensor, "a tensor, an object with name, shape, datatype and data")
        name = _checked_name(tensor.get("name"), f"{place}.name", names, options)
        if name in columns:
            raise FieldError(f"{place}.name", name, "each name once")
        encoder = names.get(name)
        is_object = name in objects or isinstance(encoder, WeightedListEncoder)
        # A text is a list only for the model.
        is_one = is_object or isinstance(encoder, WordsEncoder | HashedWordsEncoder)
        is_list = name in lists or (encoder is not None and encoder.is_list and not is_one)
        is_text = encoder is not None and encoder.dtype == "string" and not is_object
        columns[name] = Column(name, _values(tensor, place, is_list, is_text), place)
    return list(columns.values())


def _checked_name(name: object, place: str, names: Mapping[str, Encoder], options: Collection[str]) -> str:
    if not isinstance(name, str) or (name not in names and name not in options):
        raise FieldError(place, name, f"a feature or option ({', '.join([*names, *options])})")
    return name


def _values(tensor: Mapping[Any, Any], place: str, is_list: bool, is_text: bool) -> list[object]:
    """Give a value, or a list, for each row."""
    shape, datatype = tensor.get("shape"), tensor.get("datatype")
    if not isinstance(datatype, str) or datatype not in _DATATYPES:
        raise FieldError(f"{place}.datatype", datatype, f"one of {', '.join(_DATATYPES)}")
    if (
        not isinstance(shape, list)
        or len(shape) not in (1, 2)
        or not all(type(size) is int and size >= 0 for size in shape)
    ):
        raise FieldError(f"{place}.shape", shape, "[rows] or [rows, length]")
    rows, width = shape[0], shape[1] if len(shape) == 2 else 1
    data = _flat(tensor.get("data"), place)
    if len(data) != rows * width:
        raise FieldError(
            f"{place}.data", len(data), f"the {rows * width} values of the shape {shorten(shape)}"
        )
    _check_values(data, datatype, place)
    if is_list:
        listed = [data[row * width : (row + 1) * width] for row in range(rows)]
        if datatype == "BYTES":
            # What pads a shorter list.
            return [[value for value in values if value != ""] for values in listed]
        return [*listed]
    if width != 1:
        raise FieldError(f"{place}.shape", shape, "[rows] or [rows, 1], as a row has one value of it")
    if datatype == "BYTES" and not is_text:
        return [_parsed(value, f"{place}.data[{row}]") for row, value in enumerate(data)]
    return data


def _flat(data: object, place: str) -> list[Any]:
    """Take data that is nested by its shape apart, as the protocol allows."""
    if not isinstance(data, list):
        raise FieldError(f"{place}.data", data, "a list of values")
    if not data or not isinstance(data[0], list):
        return data
    flat = []
    for row, values in enumerate(data):
        if not isinstance(values, list):
            raise FieldError(f"{place}.data[{row}]", values, "a list, as the rows before it")
        flat.extend(values)
    return flat


def _check_values(data: Sequence[object], datatype: str, place: str) -> None:
    kinds: tuple[type, ...]
    if datatype == "BYTES":
        kinds = (str,)
    elif datatype == "BOOL":
        kinds = (bool,)
    else:
        kinds = (int,) if "INT" in datatype else (int, float)
    for position, value in enumerate(data):
        if not isinstance(value, kinds) or (isinstance(value, bool) and datatype != "BOOL"):
            raise FieldError(f"{place}.data[{position}]", value, f"{_DATATYPES[datatype]}, as of {datatype}")


def _parsed(value: str, place: str) -> object:
    if not value:
        return None
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        raise FieldError(place, value, "JSON") from None
