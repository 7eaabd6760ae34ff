"""Answers as bytes of JSON."""

import json

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.handlers.small import examples, json_texts, strict_json
from torchtowers.handlers.answer import encode_answer, encode_error, encode_row
from torchtowers.handlers.dialect import Request
from torchtowers.handlers.errors import FieldError

IDS = json_texts(["10", 'a"b', "été"])
COLUMNS = {"title": json_texts(["Alien", None, ["x", {"y": 1}]]), 'a "name"': json_texts([1, 2.5, True])}


def row(rows: list[int], scores: list[float]) -> bytes:
    return encode_row(np.array(rows, np.int64), np.array(scores, np.float32), IDS, {})


def test_a_row() -> None:
    assert row([2, 0], [1.5, -2]) == '{"items": ["été", "10"], "scores": [1.5, -2]}'.encode()


def test_a_row_with_columns() -> None:
    answer = encode_row(np.array([2, 1]), np.array([1, 0.5], np.float32), IDS, COLUMNS)
    assert strict_json(answer) == {
        "items": ["été", 'a"b'],
        "scores": [1, 0.5],
        "fields": {"title": [["x", {"y": 1}], None], 'a "name"': [True, 2.5]},
    }


def test_nothing_found() -> None:
    assert strict_json(row([], [])) == {"items": [], "scores": []}
    empty = encode_row(np.empty(0, np.int64), np.empty(0, np.float32), IDS, COLUMNS)
    assert strict_json(empty)["fields"] == {"title": [], 'a "name"': []}


@examples(200)
@given(st.floats(allow_nan=False, allow_infinity=False, width=32))
@example(float(np.float32(1012.71094)))  # needs all nine digits
def test_a_score_comes_back_exactly(score: float) -> None:
    (value,) = strict_json(row([0], [score]))["scores"]
    assert np.float32(value) == np.float32(score)


def test_dialects() -> None:
    assert encode_answer(Request("plain", ()), [b'{"items": []}']) == b'{"items": []}'
    assert encode_answer(Request("instances", ()), [b"{}", b"{}"]) == b'{"predictions": [{}, {}]}'
    with pytest.raises(ValueError, match="too many values"):
        encode_answer(Request("plain", ()), [b"{}", b"{}"])


def test_an_error_is_ascii_json() -> None:
    error = FieldError("user_id", {"é": "\ud800"}, "a string")
    assert json.loads(encode_error(error)) == error.body()
    assert encode_error(error).isascii()
