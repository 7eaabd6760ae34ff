"""Recommendations to the bytes of an answer.

Ids and item columns are kept as JSON text, so an answer is put together without encoding them again.
"""

import json
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from torchtowers.handlers.errors import RequestError
from torchtowers.handlers.strings import StringTable

__all__ = ["encode_answer", "encode_error", "encode_ranked", "encode_row"]


def encode_row(
    rows: NDArray[np.int64],
    scores: NDArray[np.float32],
    ids: StringTable,
    columns: Mapping[str, StringTable],
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
    numbers = b", ".join(b"%.9g" % score for score in scores.tolist())
    return b'{"items": [%b], "scores": [%b]' % (items, numbers)


def _list(table: StringTable, rows: Sequence[int]) -> bytes:
    return b", ".join(map(table.raw, rows))


def encode_answer(dialect: str, rows: Iterable[bytes]) -> bytes:
    """Put the rows' answers together in the request's own dialect."""
    if dialect == "plain":
        (row,) = rows
        return row
    return b'{"predictions": [' + b", ".join(rows) + b"]}"


def encode_error(error: RequestError) -> bytes:
    """Encode an error's `{"code", "type", "message"}`."""
    return json.dumps(error.body()).encode()
