import math
from typing import Any

import pytest

from torchtowers.handlers.encoders import Vocabulary, WeightedListEncoder
from torchtowers.handlers.errors import FieldError

ENCODER = WeightedListEncoder(Vocabulary(["a", "b", "7"]), 2)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"a": 0.5, "b": -1}, ([2, 3], [0.5, -1.0])),
        ([["a", 0.5], ["b", 2]], ([2, 3], [0.5, 2.0])),
        ([("a", 1), (7, 0)], ([2, 4], [1.0, 0.0])),
        ([["a", 1], ["b", 2], [7, 3]], ([3, 4], [2.0, 3.0])),  # the last two
        ({"z": 9, "a": 1}, ([2], [1.0])),  # unknown ones take no place
        ({}, ([], [])),
        ([], ([], [])),
        (None, ([], [])),
    ],
)
def test_weighted_list(value: object, expected: object) -> None:
    assert ENCODER.encode_value(value, "tastes") == expected


@pytest.mark.parametrize(
    ("value", "field", "expected"),
    [
        ("a", "tastes", "an object of weights by token"),
        (["a"], "tastes[0]", "a pair of a token and a weight"),
        ([["a", 1], ["b"]], "tastes[1]", "a pair of a token and a weight"),
        ([[None, 1]], "tastes[0]", "a string or an integer"),
        ({"a": math.nan}, "tastes[0]", "a finite weight"),
        ({"a": math.inf}, "tastes[0]", "a finite weight"),
        ({"a": 1, "b": "2"}, "tastes[1]", "a finite weight"),
        ({"a": True}, "tastes[0]", "a finite weight"),
        ({"a": 10**400}, "tastes[0]", "a finite weight"),
    ],
)
def test_weighted_list_refuses(value: Any, field: str, expected: str) -> None:
    with pytest.raises(FieldError) as caught:
        ENCODER.encode_value(value, "tastes")
    assert caught.value.field == field
    assert f"{field}: expected {expected}" in str(caught.value)


def test_a_batch_has_lists_and_weights_of_the_same_shape() -> None:
    indices, weights = ENCODER.stack([([2, 3], [0.5, 2.0]), ([], [])])
    assert indices.tolist() == [[2, 3], [0, 0]]
    assert weights.tolist() == [[0.5, 2.0], [0.0, 0.0]]
