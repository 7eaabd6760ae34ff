import math

import numpy as np
import pytest

from torchtowers.handlers.encoders import BooleanEncoder, NumberEncoder, VectorEncoder
from torchtowers.handlers.errors import FieldError


@pytest.mark.parametrize(
    ("value", "row"),
    [
        (5, [1.0, 0.0]),
        (3.0, [0.0, 0.0]),
        (None, [0.0, 1.0]),
        (1e300, [10.0, 0.0]),
        (-(10**400), [-10.0, 0.0]),
    ],
)
def test_standardised_number(value: object, row: list[float]) -> None:
    assert NumberEncoder("standardize", 3.0, 2.0).encode_value(value, "price") == row


def test_logarithm_keeps_the_sign() -> None:
    encoder = NumberEncoder("log", 0.0, 2.0)
    encoded = encoder.encode([math.e - 1, 1 - math.e, 0])
    assert encoded.tolist() == [[0.5, 0], [-0.5, 0], [0, 0]]


@pytest.mark.parametrize("value", [math.nan, math.inf, "3", True, [3]])
def test_number_refuses(value: object) -> None:
    with pytest.raises(FieldError, match=r"^price: expected a finite number, got "):
        NumberEncoder("log", 0.0, 1.0).encode_value(value, "price")


@pytest.mark.parametrize(
    ("value", "index"),
    [(None, 0), (False, 1), (True, 2), (0, 1), (1, 2), (np.bool_(True), 2), (np.int8(0), 1)],
)
def test_boolean(value: object, index: int) -> None:
    assert BooleanEncoder().encode_value(value, "premium") == index


@pytest.mark.parametrize("value", ["true", 2, -1, 1.0, [], ""])
def test_boolean_refuses(value: object) -> None:
    with pytest.raises(FieldError, match=r"^premium: expected true or false, got "):
        BooleanEncoder().encode_value(value, "premium")


def test_vector() -> None:
    encoder = VectorEncoder(2, 4.0)
    assert encoder.encode([[4, -2.0], None]).tolist() == [[1.0, -0.5], [0.0, 0.0]]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ([1], "picture: expected a list of 2 finite numbers"),
        ("1|2", "picture: expected a list of 2 finite numbers"),
        ([1, math.nan], r"picture\[1\]: expected a finite number"),
        ([None, 1], r"picture\[0\]: expected a finite number"),
    ],
)
def test_vector_refuses(value: object, said: str) -> None:
    with pytest.raises(FieldError, match=said):
        VectorEncoder(2).encode_value(value, "picture")
