"""The JSON in what TorchServe hands a handler: parsed already, bytes, text, a form, or a gRPC map.

What TorchServe 0.12 makes of a call of Open Inference's gRPC: the `body` is JSON of `id`, `model_name` and
`inputs` with name, shape, datatype and data, where each element of BYTES is base64; parameters, the outputs
that are asked for and the version are dropped. What tells it from the same JSON over REST is that it has no
header at all, and from gRPC's `Predictions` that its content type is JSON.
"""

import base64
import json
from collections.abc import Mapping
from typing import Any

from torchtowers.handlers.encoders import Encoder, HashedWordsEncoder, TokenEncoder, WordsEncoder
from torchtowers.handlers.errors import BodyError, FieldError, LimitError, shorten

__all__ = ["check_size", "dialect_of", "is_open_inference_call", "json_of", "with_texts"]

# What else comes beside these is passed over: /invocations adds its query's parameters.
_BODY_KEYS = ("body", "data")
_ADVICE = "send a JSON object and the header Content-Type: application/json"


def json_of(item: Mapping[str, object], features: Mapping[str, Encoder]) -> object:
    """Find the JSON in one item of a batch.

    A form or gRPC map without `body` or `data` is read as one object, a field for each feature or option.

    Args:
        item: By the name of a form field or gRPC input; `body` for a request that is no form.
        features: The query's encoders, which tell whether a form's field is a text or JSON.

    Raises:
        BodyError: What should be JSON is not, or was sent as a form.
    """
    for key in _BODY_KEYS:
        if key in item:
            return _parse(item[key])
    if not item:
        raise BodyError(f"the body is empty; {_ADVICE}")
    # What `curl -d` sends without a content type: TorchServe takes JSON with a '=' or '&' in it for a form's
    # fields, and hands over nothing of any other.
    if next(iter(item)).lstrip().startswith("{"):
        raise BodyError(f"the body is JSON sent as a form; {_ADVICE}")
    return {name: _field(name, value, features.get(name)) for name, value in item.items()}


def check_size(item: Mapping[str, object], headers: Mapping[str, Any], most: int) -> None:
    """Refuse a body that is larger than allowed.

    Args:
        item: As for `json_of`.
        headers: The request's; of a body that was parsed already they alone tell its size.
        most: Bytes.

    Raises:
        LimitError: It is (413).
    """
    stated = headers.get("Content-Length") or headers.get("content-length") or ""
    size = int(stated[:18]) if stated.isdecimal() else 0
    own = 0
    for value in item.values():
        if isinstance(value, bytes | bytearray | str):
            own += len(value)
    size = max(size, own)
    if size > most:
        raise LimitError(f"the body is {size} bytes, at most {most} are allowed", code=413)


def is_open_inference_call(headers: Mapping[str, Any]) -> bool:
    """Tell whether a request came over Open Inference's gRPC, by its headers."""
    body = headers.get("body")
    return len(headers) == 1 and isinstance(body, Mapping) and body.get("content-type") == "application/json"


def with_texts(body: Any) -> Any:
    """Give the body of a call of Open Inference's gRPC as it would come over REST: with text for BYTES.

    Raises:
        FieldError: A text is not UTF-8.
    """
    if not isinstance(body.get("inputs"), list):
        return body  # which is refused where it is read
    inputs = []
    for position, tensor in enumerate(body["inputs"]):
        if isinstance(tensor, Mapping) and tensor.get("datatype") == "BYTES":
            data = tensor.get("data")
            if isinstance(data, list):
                place = f"inputs[{position}].data"
                texts = [_decoded(value, f"{place}[{number}]") for number, value in enumerate(data)]
                tensor = {**tensor, "data": texts}
        inputs.append(tensor)
    return {**body, "inputs": inputs}


def _decoded(value: object, place: str) -> str:
    try:
        return base64.b64decode(value, validate=True).decode()  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise FieldError(place, value, "UTF-8 in BYTES") from None


def dialect_of(body: object) -> str:
    """Tell in which dialect an error of a body that could not be read is answered."""
    if isinstance(body, Mapping):
        if "instances" in body:
            return "instances"
        if "inputs" in body:
            return "columns" if isinstance(body["inputs"], Mapping) else "open_inference"
    return "plain"


def _field(name: str, value: object, encoder: Encoder | None) -> object:
    if not isinstance(value, str | bytes | bytearray | memoryview):
        return value  # a part of a form that came as JSON
    text = _text(value, name)
    if isinstance(encoder, TokenEncoder | WordsEncoder | HashedWordsEncoder):
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text  # which is refused where the field is checked, and named there


def _text(value: object, name: str) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bytes | bytearray | memoryview):
        try:
            return bytes(value).decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise BodyError(f"{shorten(name)} is not UTF-8: {error.reason} at byte {error.start}") from None
    raise BodyError(f"{shorten(name)}: expected text or JSON, got {type(value).__name__}")


def _parse(value: object) -> object:
    if not isinstance(value, str | bytes | bytearray | memoryview):
        return value
    text = _text(value, "the body")
    if not text.strip():
        raise BodyError(f"the body is empty; {_ADVICE}")
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        reason = str(error)
    except ValueError:
        reason = "a number has too many digits"
    except RecursionError:
        reason = "it is nested too deeply"
    raise BodyError(f"the body is not JSON: {reason}; it begins with {shorten(text)}")
