"""The JSON in whatever TorchServe hands over."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.handlers.small import examples, json_values, small_encoders, texts
from torchtowers.handlers.body import is_open_inference_call, json_of, with_texts
from torchtowers.handlers.encoders import Vocabulary, WordsEncoder
from torchtowers.handlers.errors import BodyError, FieldError

FEATURES = small_encoders() | {"query": WordsEncoder(Vocabulary(["1984"]), 4)}
BODY = {"user_id": "196", "history": ["été"]}
TEXT = json.dumps(BODY)


@pytest.mark.parametrize(
    "item",
    [
        {"body": BODY},
        {"data": BODY},
        {"body": TEXT},
        {"body": TEXT.encode()},
        {"body": bytearray(TEXT.encode())},
        {"data": memoryview(TEXT.encode())},
        {"body": b"\xef\xbb\xbf" + TEXT.encode()},  # with a byte order mark
        {"body": f"\n {TEXT} "},
        {"body": json.dumps(BODY, ensure_ascii=False).encode()},
        {"body": TEXT, "model_name": "movies"},  # what /invocations adds
        {"user_id": "196", "history": '["été"]'},
        {"user_id": b"196", "history": bytearray('["été"]'.encode())},
        {"user_id": "196", "history": ["été"]},  # a part of a form that is JSON
    ],
)
def test_finds_the_json(item: dict[str, object]) -> None:
    assert json_of(item, FEATURES) == BODY


@pytest.mark.parametrize("value", [None, [], [1], 5, 1.5, True, "\ud800"])
def test_gives_json_that_is_no_object_as_it_is(value: object) -> None:
    assert json_of({"body": json.dumps(value)}, FEATURES) == value


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("user_id", "007", "007"),
        ("user_id", "7", "7"),
        ("user_id", "1.5", "1.5"),
        ("user_id", "null", "null"),
        ("user_id", "true", "true"),
        ("user_id", "", ""),
        ("query", "1984", "1984"),
        ("query", '{"a": 1}', '{"a": 1}'),
        ("age", "24", 24),
        ("age", "2.5", 2.5),
        ("age", "007", "007"),
        ("age", "", ""),
        ("age", "null", None),
        ("history", "242", 242),
        ("history", "[242", "[242"),
        ("k", "5", 5),
        ("exclude", '["1"]', ["1"]),
        ("exclude_history", "true", True),
        ("instances", '[{"user_id": "1"}]', [{"user_id": "1"}]),
        ("k", "1" * 5000, "1" * 5000),
        ("exclude", "[" * 100_000, "[" * 100_000),
    ],
)
def test_a_field_of_a_form_is_text_where_its_feature_is(name: str, text: str, value: object) -> None:
    assert json_of({name: text}, FEATURES) == {name: value}
    assert json_of({name: text.encode()}, FEATURES) == {name: value}


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({}, "the body is empty; send a JSON object and the header Content-Type: application/json"),
        ({"body": b""}, "the body is empty"),
        ({"body": " \n"}, "the body is empty"),
        ({"body": b"\xef\xbb\xbf"}, "the body is empty"),
        (
            {"body": b"user_id=196"},
            "not JSON: Expecting value: line 1 column 1 (char 0); it begins with user_id=",
        ),
        ({"body": b'{"user_id": "\xff"}'}, "the body is not UTF-8: invalid start byte at byte 13"),
        ({"body": '{"a": 1}'.encode("utf-16")}, "the body is not UTF-8"),
        ({"body": b'{"age": ' + b"1" * 5000 + b"}"}, "not JSON: a number has too many digits"),
        ({"body": b"[" * 100_000}, "not JSON: it is nested too deeply; it begins with [[["),
        # What the server makes of JSON with a '=' or '&' in it that `curl -d` sends without a header.
        (
            {'{"user_id": "a': bytearray(b'b"}')},
            "JSON sent as a form; send a JSON object and the header Content-Type: application/json",
        ),
        ({'{"user_id": "a': bytearray(), "b": bytearray(b'c"}')}, "Content-Type: application/json"),
        ({' {"user_id": "a': bytearray(b'b"}')}, "Content-Type: application/json"),
        ({"user_id": b"\xff"}, "user_id is not UTF-8"),
        ({"n\xe9": b"\xff", "k": b"1"}, "n\\xe9 is not UTF-8"),
    ],
)
def test_says_what_is_wrong(item: dict[str, object], message: str) -> None:
    with pytest.raises(BodyError) as caught:
        json_of(item, FEATURES)
    assert message in str(caught.value)
    assert str(caught.value).isprintable()


@examples(200)
@given(
    st.dictionaries(
        st.sampled_from(["body", "data", "user_id", "age", "k", TEXT, TEXT[:9]]) | texts,
        json_values | st.binary(max_size=20) | st.just(TEXT.encode()),
        max_size=3,
    )
)
def test_anything_gives_json_or_a_body_error(item: dict[str, Any]) -> None:
    try:
        value = json_of(item, FEATURES)
    except BodyError:
        return
    assert isinstance(value, dict | list | str | int | float | None)


@pytest.mark.parametrize(
    ("headers", "is_call"),
    [
        ({"body": {"content-type": "application/json"}}, True),
        # gRPC's Predictions, and REST, where TorchServe adds `explain` to what the client sent.
        ({"body": {"content-type": ""}}, False),
        ({"data": {"content-type": "application/json"}}, False),
        ({"body": {"content-type": "application/json"}, "explain": "False"}, False),
        ({"body": "application/json"}, False),
        ({}, False),
    ],
)
def test_tells_a_call_of_open_inference(headers: dict[str, object], is_call: bool) -> None:
    assert is_open_inference_call(headers) is is_call


def test_texts_of_a_call() -> None:
    numbers = {"name": "age", "datatype": "FP32", "data": [1]}
    body = {"inputs": [{"datatype": "BYTES", "data": ["MTk2", "w6l0w6k=", ""]}, numbers, 5], "id": ""}
    assert with_texts(body) == {
        "inputs": [{"datatype": "BYTES", "data": ["196", "été", ""]}, numbers, 5],
        "id": "",
    }
    for value in ("!", "/w==", "w", 5, None, "é"):
        with pytest.raises(FieldError, match=r"inputs\[0\]\.data\[0\]: expected UTF-8 in BYTES"):
            with_texts({"inputs": [{"datatype": "BYTES", "data": [value]}]})
    assert with_texts({"inputs": None}) == {"inputs": None}
