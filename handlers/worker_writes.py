"""A batch's answers as TorchServe's message: its own writer packs a dozen parts for each of them."""

from collections.abc import Callable, Mapping, Sequence
from struct import Struct
from typing import Any

__all__ = ["predict_response"]

_INT = Struct("!i")
_END = _INT.pack(-1)
_OK = 200
# In an answer's headers, of a stream of answers; the model of another handler can give one.
_STREAM = "ts_stream_next"


def predict_response(own: Callable[..., Any]) -> Callable[..., Any]:
    """Give what stands for TorchServe's `create_predict_response`.

    Args:
        own: That function, which writes what is not a batch of complete answers in bytes.
    """

    def create_predict_response(
        ret: Any,
        req_id_map: Mapping[int, str],
        message: str,
        code: int,
        context: Any = None,
        ts_stream_next: bool = False,
    ) -> Any:
        if code == _OK and context is not None and not ts_stream_next and not context.stopping_criteria:
            headers = [context.get_response_headers(position) for position in req_id_map]
            if all(type(answer) is bytes for answer in ret) and not any(_STREAM in each for each in headers):
                return _message(ret, req_id_map, message, context, headers)
        return own(ret, req_id_map, message, code, context, ts_stream_next)

    return create_predict_response


def _message(
    answers: Sequence[bytes],
    identifiers: Mapping[int, str],
    message: str,
    context: Any,
    headers: Sequence[Mapping[str, str]],
) -> bytes:
    parts = [_INT.pack(_OK), _sized(message)]
    between: dict[tuple[Any, ...], bytes] = {}
    for (position, identifier), own in zip(identifiers.items(), headers, strict=True):
        status = context.get_response_status(position)
        key = (status, *own.items())
        if key not in between:
            between[key] = _status_and_headers(status, own)
        answer = answers[position]
        parts += (_sized(identifier), between[key], _INT.pack(len(answer)), answer)
    return b"".join([*parts, _END])


def _status_and_headers(status: tuple[int | None, str | None], headers: Mapping[str, str]) -> bytes:
    code, phrase = status
    parts = [
        _sized(headers.get("content-type") or ""),
        _INT.pack(_OK if code is None else code),
        _sized(phrase or ""),
        _INT.pack(len(headers)),
    ]
    for name, value in headers.items():
        parts += (_sized(name), _sized(value))
    return b"".join(parts)


def _sized(text: str) -> bytes:
    encoded = text.encode()
    return _INT.pack(len(encoded)) + encoded
