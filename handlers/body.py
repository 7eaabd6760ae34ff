"""The JSON in what TorchServe hands a handler: parsed already, bytes, text, a form, or a gRPC map."""

import json
from collections.abc import Mapping

from torchtowers.handlers.encoders import Encoder, TokenEncoder, WordsEncoder
from torchtowers.handlers.errors import BodyError, shorten

__all__ = ["json_of"]

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


def _field(name: str, value: object, encoder: Encoder | None) -> object:
    if not isinstance(value, str | bytes | bytearray | memoryview):
        return value  # a part of a form that came as JSON
    text = _text(value, name)
    if isinstance(encoder, TokenEncoder | WordsEncoder):
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
