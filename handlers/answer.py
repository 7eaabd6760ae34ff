"""Recommendations to the bytes of an answer, in the dialect of its request.

Ids and item columns are kept as JSON text, so an answer is put together without encoding them again.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from torchtowers.handlers.dialect import Request
from torchtowers.handlers.errors import RequestError
from torchtowers.handlers.strings import StringTable

__all__ = ["Served", "encode_answer", "encode_error", "encode_ranked", "encode_row"]

# In the place of a score where there is no item; the least of float32, since JSON has no infinity.
_NO_SCORE = float(np.finfo(np.float32).min)


@dataclass(frozen=True)
class Served:
    """What an answer of Open Inference says of the model, and how it goes back.

    Args:
        name: Under which the model was asked.
        version: Its version.
        over_grpc: Whether TorchServe makes a message of Open Inference's gRPC of the answer: it then writes
            the JSON text of each element of BYTES, and a worker dies of an answer without id and outputs.
    """

    name: str
    version: str
    over_grpc: bool = False


class JsonColumn(Protocol):
    """A column's values as JSON text, by the item's row."""

    def raw(self, row: int) -> bytes:
        """Give one value."""


def encode_row(
    rows: NDArray[np.int64],
    scores: NDArray[np.float32],
    ids: StringTable,
    columns: Mapping[str, JsonColumn],
) -> bytes:
    """Encode one row's answer: `{"items": […], "scores": […]}`, and `"fields": {name: […]}` where asked for.

    Args:
        rows: The items' rows in the index, best first.
        scores: Their scores; finite. Nine digits give each float32 back exactly.
        ids: Every item's id as JSON text.
        columns: The columns asked for, each value as JSON text.
    """
    taken = rows.tolist()
    answer = _begin(_list(ids, taken), scores)
    if columns:
        parts = (
            json.dumps(name).encode() + b": [" + _list(table, taken) + b"]" for name, table in columns.items()
        )
        answer += b', "fields": {' + b", ".join(parts) + b"}"
    return answer + b"}"


def encode_ranked(ids: Iterable[bytes], scores: NDArray[np.float32]) -> bytes:
    """Encode one row's answer: `{"items": […], "scores": […]}`.

    Args:
        ids: The items' ids as JSON text.
        scores: Their scores; finite.
    """
    return _begin(b", ".join(ids), scores) + b"}"


def _begin(items: bytes, scores: NDArray[np.float32]) -> bytes:
    values = scores.tolist()
    numbers = b"%.9g, " * len(values) % (*values,)
    return b'{"items": [%b], "scores": [%b]' % (items, numbers[:-2])


def _list(table: JsonColumn, rows: Sequence[int]) -> bytes:
    return b", ".join(map(table.raw, rows))


def encode_answer(request: Request[Any], rows: Iterable[bytes], served: Served | None = None) -> bytes:
    """Put the rows' answers together in the request's own dialect.

    Args:
        request: What was asked.
        rows: What `encode_row` or `encode_ranked` gave for each of its rows.
        served: The model; None where no server answers.
    """
    match request.dialect:
        case "plain":
            (row,) = rows
            return row
        case "instances":
            return b'{"predictions": [' + b", ".join(rows) + b"]}"
        case "columns":
            return _text({"outputs": _columns([json.loads(row) for row in rows])})
        case _:
            return _text(_open_inference(request, [json.loads(row) for row in rows], served))


def _columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    outputs: dict[str, Any] = {name: [row[name] for row in rows] for name in ("items", "scores")}
    # A row may ask for columns that the others don't.
    names = dict.fromkeys(name for row in rows for name in row.get("fields", ()))
    if names:
        outputs["fields"] = {name: [row.get("fields", {}).get(name) for row in rows] for name in names}
    return outputs


def _open_inference(
    request: Request[Any], rows: Sequence[Mapping[str, Any]], served: Served | None
) -> dict[str, Any]:
    """Give tensors `[rows, length of the longest answer]`; `counts` has each row's own length."""
    over_grpc = served is not None and served.over_grpc
    lengths = [len(row["items"]) for row in rows]
    shape = [len(rows), max(lengths)]

    def padded(values: Sequence[Sequence[Any]], padding: Any) -> list[Any]:
        return [value for own in values for value in [*own, *[padding] * (shape[1] - len(own))]]

    def tensor(datatype: str, data: list[Any], shape: list[int] = shape) -> dict[str, Any]:
        return {"datatype": datatype, "shape": shape, "data": data}

    outputs = {
        "items": tensor("BYTES", padded([row["items"] for row in rows], "")),
        "scores": tensor("FP32", padded([row["scores"] for row in rows], _NO_SCORE)),
        "counts": tensor("INT64", lengths, [len(rows)]),
    }
    for name in dict.fromkeys(name for row in rows for name in row.get("fields", ())):
        values = padded([row.get("fields", {}).get(name, []) for row in rows], None)
        # Over gRPC each element becomes its JSON text on the way.
        data = values if over_grpc else [_as_text(value) for value in values]
        outputs[f"fields.{name}"] = tensor("BYTES", data)
    asked = request.outputs or outputs
    return {
        **_head(request.id, served),
        "outputs": [{"name": name, **outputs[name]} for name in asked if name in outputs],
    }


def _head(name: str | None, served: Served | None) -> dict[str, Any]:
    head: dict[str, Any] = {}
    if served is not None:
        head = {"model_name": served.name, "model_version": served.version}
    if name is not None or (served is not None and served.over_grpc):
        head["id"] = name or ""
    return head


def _as_text(value: object) -> str:
    """Give a text as it is, nothing for what is missing, and the JSON text of all else."""
    if value is None:
        return ""
    return value if isinstance(value, str) else _text(value).decode()


def _text(value: object) -> bytes:
    try:
        return json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:  # a surrogate that stands alone, which JSON can escape and UTF-8 can't hold
        return json.dumps(value).encode()


def encode_error(error: RequestError, dialect: str = "plain", served: Served | None = None) -> bytes:
    """Encode an error: `{"code", "type", "message"}`, and `field` where one is to blame.

    Args:
        error: It.
        dialect: Of the request; clients of all but the plain one also look for `error`.
        served: The model that was asked; over gRPC of Open Inference the error is an output of that name.
    """
    body = error.body()
    if dialect != "plain":
        body = {"error": body["message"], **body}
    if served is not None and served.over_grpc:
        body = {
            **_head("", served),
            "outputs": [{"name": "error", "datatype": "BYTES", "shape": [1], "data": [body]}],
        }
    return json.dumps(body).encode()
