"""Errors stay one short line, whatever came."""

import json

import pytest
from hypothesis import given

from tests.handlers.small import examples, json_values
from torchtowers.handlers.errors import FieldError, LimitError, RequestError, TowersError, shorten


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("abc", "abc"),
        ("a\r\nb\x1b[0m", "a b [0m"),
        ("é\ud800", "\\xe9\\ud800"),
        ({"user_id": "196"}, "{'user_id': '196'}"),
        (None, "None"),
        ("x" * 81, "x" * 77 + "..."),
        ([[[[["deep"]]]]], "[[[[[...]]]]]"),
    ],
)
def test_shows_what_came(value: object, shown: str) -> None:
    assert shorten(value) == shown


def test_shows_an_integer_that_python_refuses_to_write_out() -> None:
    assert shorten(10**5000) == "a very long int"


def test_shows_a_value_nested_beyond_the_stack() -> None:
    nested: list[object] = []
    for _ in range(100_000):
        nested = [nested]
    assert shorten(nested) == "[[[[[...]]]]]"
    while nested:  # taken apart by hand, as freeing it at once would be deep, too
        (nested,) = nested  # type: ignore[assignment]


@examples(200)
@given(json_values)
def test_is_one_printable_line_of_at_most_80_characters(value: object) -> None:
    shown = shorten(value)
    assert len(shown) <= 80
    assert shown.isascii()
    assert shown.isprintable()


def test_body_names_field_and_what_was_expected() -> None:
    body = FieldError("instances[1].age", "old", "a finite number").body()
    assert body == {
        "code": 400,
        "type": "bad_field",
        "message": "instances[1].age: expected a finite number, got old",
        "field": "instances[1].age",
    }
    assert json.loads(json.dumps(body)) == body


def test_missing_field_says_so() -> None:
    error = FieldError.missing("user_id", "a string or an integer")
    assert str(error) == "user_id: missing; every row needs a string or an integer"
    assert error.field == "user_id"


def test_code_can_be_set_for_one_error_only() -> None:
    assert LimitError("too large", code=413).body()["code"] == 413
    assert LimitError("too many").body()["code"] == 400
    assert issubclass(RequestError, TowersError)
