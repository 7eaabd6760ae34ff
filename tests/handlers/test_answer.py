"""Answers as bytes of JSON."""

import json

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.handlers.small import examples, json_texts, strict_json
from torchtowers.handlers.answer import Served, encode_answer, encode_error, encode_row
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


ROWS = [
    row([2, 0], [1.5, -2]),
    encode_row(np.array([1]), np.array([1], np.float32), IDS, {"title": COLUMNS["title"]}),
]


def test_columns() -> None:
    """A row that did not ask for a column has null for it."""
    assert strict_json(encode_answer(Request("columns", ()), ROWS)) == {
        "outputs": {
            "items": [["été", "10"], ['a"b']],
            "scores": [[1.5, -2], [1]],
            "fields": {"title": [None, [None]]},
        }
    }


LEAST = float(np.finfo(np.float32).min)


def test_tensors() -> None:
    answer = strict_json(encode_answer(Request("open_inference", (), "7"), ROWS, Served("m", "1.0")))
    assert (answer["model_name"], answer["model_version"], answer["id"]) == ("m", "1.0", "7")
    assert answer["outputs"] == [
        {"name": "items", "datatype": "BYTES", "shape": [2, 2], "data": ["été", "10", 'a"b', ""]},
        {"name": "scores", "datatype": "FP32", "shape": [2, 2], "data": [1.5, -2, 1, LEAST]},
        {"name": "counts", "datatype": "INT64", "shape": [2], "data": [2, 1]},
        {"name": "fields.title", "datatype": "BYTES", "shape": [2, 2], "data": ["", "", "", ""]},
    ]


def test_an_id_is_left_out_where_none_came_but_over_grpc() -> None:
    request: Request[object] = Request("open_inference", (), None, ("counts",))
    assert "id" not in strict_json(encode_answer(request, ROWS, Served("m", "1.0")))
    assert strict_json(encode_answer(request, ROWS, Served("m", "1.0", over_grpc=True))) == {
        "model_name": "m",
        "model_version": "1.0",
        "id": "",
        "outputs": [{"name": "counts", "datatype": "INT64", "shape": [2], "data": [2, 1]}],
    }


def test_over_grpc_values_stay_json_for_torchserve_to_write_out() -> None:
    columns = {"title": COLUMNS["title"]}
    rows = [encode_row(np.array([2, 0]), np.array([1, 0], np.float32), IDS, columns)]
    served = Served("m", "1.0", over_grpc=True)
    outputs = strict_json(encode_answer(Request("open_inference", ()), rows, served))["outputs"]
    assert outputs[3]["data"] == [["x", {"y": 1}], "Alien"]


@pytest.mark.parametrize("dialect", ["instances", "columns", "open_inference"])
def test_an_error_of_other_dialects_has_its_message_as_error_too(dialect: str) -> None:
    error = FieldError("k", 0, "more")
    assert strict_json(encode_error(error, dialect)) == {**error.body(), "error": str(error)}


def test_an_error_over_grpc_of_open_inference_is_an_output() -> None:
    error = FieldError("k", 0, "more")
    answer = strict_json(encode_error(error, "open_inference", Served("m", "1.0", over_grpc=True)))
    (output,) = answer.pop("outputs")
    assert answer == {"id": "", "model_name": "m", "model_version": "1.0"}
    assert output["data"] == [{**error.body(), "error": str(error)}]
    assert (output["name"], output["shape"]) == ("error", [1])
