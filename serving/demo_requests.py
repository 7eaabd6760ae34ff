"""From what a person chose on the page to a request's body in a dialect, and from its answer to rows."""

import json
import re
import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from torchtowers.handlers.encoders import Encoder, WeightedListEncoder
from torchtowers.handlers.errors import BodyError, FieldError, shorten
from torchtowers.serving.conversation import rest_path
from torchtowers.serving.demo_profile import field_of

__all__ = [
    "DIALECTS",
    "Question",
    "body_of",
    "command_of",
    "control_of",
    "path_of",
    "read_question",
    "rows_of",
]

DIALECTS = ("plain", "instances", "inputs")
_TEXTS = ("user", "model")
_PLACE = re.compile(r"(?:instances\[0\]\.|parameters\.)*([^.\[]+)(?:\.([^.\[]+))?")
_COLUMN = "fields."
_INPUT = re.compile(r"inputs\[(\d+)\]")


@dataclass(frozen=True)
class Question:
    """What was chosen.

    Args:
        model: The model's name.
        version: Its version; None for the server's default one.
        dialect: One of `DIALECTS`: plain, TF Serving's `instances`, or Open Inference's `inputs`.
        grpc: Whether it goes over gRPC rather than REST.
        user: The id, or an empty text.
        features: What was typed, by feature; a text of nothing is not there.
        options: As they go into the request.
    """

    model: str
    version: str | None
    dialect: str
    grpc: bool
    user: str
    features: Mapping[str, str]
    options: Mapping[str, Any]


def read_question(content: object) -> Question:
    """Check what the page sent.

    Raises:
        BodyError: It is no question.
        FieldError: A part of it is of the wrong kind.
    """
    if not isinstance(content, Mapping):
        raise BodyError(f"expected a JSON object, got {shorten(content)}")
    for name in _TEXTS:
        if not isinstance(content.get(name), str):
            raise FieldError(name, content.get(name), "a text")
    version, dialect = content.get("version"), content.get("dialect")
    if version is not None and not isinstance(version, str):
        raise FieldError("version", version, "a text or null")
    if dialect not in DIALECTS:
        raise FieldError("dialect", dialect, f"one of {', '.join(DIALECTS)}")
    features, options = content.get("features", {}), content.get("options", {})
    if not isinstance(features, Mapping) or not all(isinstance(text, str) for text in features.values()):
        raise FieldError("features", features, "an object of texts")
    if not isinstance(options, Mapping):
        raise FieldError("options", options, "an object")
    typed = {name: text for name, text in features.items() if text.strip()}
    return Question(
        content["model"], version, dialect, content.get("grpc") is True, content["user"], typed, options
    )


def body_of(question: Question, key: str, encoders: Mapping[str, Encoder]) -> dict[str, Any]:
    """Make the request's body.

    Args:
        question: What was chosen.
        key: The feature that identifies a user.
        encoders: By feature.

    Raises:
        FieldError: A feature is unknown.
    """
    features: dict[str, Any] = {key: question.user} if question.user else {}
    for name, text in question.features.items():
        if name not in encoders:
            raise FieldError(shorten(name), text, f"one of the features {', '.join(encoders)}")
        features[name] = _value(text, field_of(name, encoders[name], required=False)["input"])
    options = dict(question.options)
    match question.dialect:
        case "plain":
            return {**features, **options}
        case "instances":
            return {"instances": [features], **options}
        case _:
            inputs = [_tensor(name, value, encoders.get(name)) for name, value in features.items()]
            return {"inputs": inputs, **({"parameters": options} if options else {})}


def rows_of(dialect: str, answer: Any, texts: Collection[str] = ()) -> dict[str, Any]:
    """Give an answer's items, scores and columns, whatever its dialect; empty where it has none.

    Args:
        dialect: Of the question.
        answer: Its parsed JSON.
        texts: Item columns of texts; of the others, tensors hold the JSON text.

    Returns:
        `items`, `scores`, and `fields` by column.
    """
    match dialect, answer:
        case "inputs", {"outputs": list(outputs)}:
            named = {output["name"]: output["data"] for output in outputs}
            fields = {}
            for name in named:
                column = name.removeprefix(_COLUMN)
                if column != name:
                    fields[column] = named[name] if column in texts else [*map(_of_tensor, named[name])]
            return {"items": named.get("items", []), "scores": named.get("scores", []), "fields": fields}
        case "instances", {"predictions": [first, *_]}:
            row = first
        case _:
            row = answer
    if not isinstance(row, Mapping):
        return {"items": [], "scores": [], "fields": {}}
    return {
        "items": row.get("items", []),
        "scores": row.get("scores", []),
        "fields": row.get("fields", {}),
    }


def control_of(field: str | None, body: Mapping[str, Any]) -> str | None:
    """Tell by an error's field which of the page's controls is to blame, such as `k` or `filter.year`."""
    if field is None:
        return None
    tensor = _INPUT.match(field)
    if tensor:
        inputs = body.get("inputs", [])
        position = int(tensor[1])
        return inputs[position]["name"] if position < len(inputs) else None
    found = _PLACE.match(field)
    if found is None:
        return None
    name, inner = found.groups()
    return f"{name}.{inner}" if name == "filter" and inner else name


def command_of(question: Question, body: str, rest: str, state: str | None) -> str:
    """Give the same request as a command; it gets the token by itself, so that it holds none.

    Args:
        question: What was chosen.
        body: The request's JSON.
        rest: Address of the inference API.
        state: The server's state folder; None for the default one.
    """
    folder = f" --state {shlex.quote(state)}" if state else ""
    if question.grpc:
        version = f" --version {shlex.quote(question.version)}" if question.version else ""
        name = shlex.quote(question.model)
        return f"torchtowers recommend {name} {shlex.quote(body)} --grpc --json{version}{folder}"
    return (
        f'curl -H "Authorization: Bearer $(torchtowers serve token{folder})" \\\n'
        f"     -H 'Content-Type: application/json' \\\n"
        f"     -d {shlex.quote(body)} \\\n"
        f"     {shlex.quote(rest + path_of(question))}"
    )


def path_of(question: Question) -> str:
    """Give the path of the REST request: the dialect's own, but for a version, which only one path takes."""
    name = quote(question.model, safe="")
    match question.dialect, question.version:
        case "instances", None:
            return f"/v1/models/{name}:predict"
        case "inputs", None:
            return f"/v2/models/{name}/infer"
        case _:
            return rest_path(question.model, question.version)


def _value(text: str, kind: str) -> Any:
    """Read what was typed; what can't be read goes as it is, for the server to tell what it expects."""
    text = text.strip()
    parts = [part.strip() for part in text.split(",") if part.strip()]
    match kind:
        case "list":
            return parts
        case "numbers":
            return [_number(part) for part in parts]
        case "number" | "time":  # a time is a number, too, or a text
            return _number(text)
        case "boolean":
            return {"true": True, "false": False}.get(text, text)
        case "json":
            return _parsed(text)
        case _:
            return text


def _number(text: str) -> int | float | str:
    value = _parsed(text)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else text


def _parsed(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return text


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def _tensor(name: str, value: Any, encoder: Encoder | None) -> dict[str, Any]:
    """Write a row's value as a tensor; an object, and a text for what is no text, is written as JSON."""
    is_text = encoder is None or encoder.dtype == "string"
    if isinstance(encoder, WeightedListEncoder) or (isinstance(value, str) and not is_text):
        return {"name": name, "shape": [1], "datatype": "BYTES", "data": [json.dumps(value)]}
    data: Sequence[Any] = value if isinstance(value, list) else [value]
    shape = [1, len(data)] if isinstance(value, list) else [1]
    return {"name": name, "shape": shape, "datatype": _datatype(data), "data": list(data)}


def _of_tensor(text: object) -> Any:
    return (_parsed(text) if text else None) if isinstance(text, str) else text


def _datatype(data: Sequence[Any]) -> str:
    if data and all(isinstance(element, bool) for element in data):
        return "BOOL"
    if data and all(isinstance(element, int) for element in data):
        return "INT64"
    if data and all(isinstance(element, int | float) for element in data):
        return "FP64"
    return "BYTES"
