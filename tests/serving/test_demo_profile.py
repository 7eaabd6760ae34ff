from typing import Any

import pytest

from torchtowers.handlers.encoders import (
    BooleanEncoder,
    BucketEncoder,
    Encoder,
    HashedTokenEncoder,
    NumberEncoder,
    TimestampEncoder,
    TokenEncoder,
    TokenListEncoder,
    VectorEncoder,
    Vocabulary,
    WeightedListEncoder,
)
from torchtowers.serving.demo_profile import field_of, readable

WORDS = Vocabulary(["red", "blue"])


@pytest.mark.parametrize(
    ("encoder", "value", "text"),
    [
        (TokenEncoder(WORDS), "blue", "blue"),
        (TokenEncoder(WORDS), "green", None),
        (TokenEncoder(WORDS, oov_buckets=5), "green", None),
        (TokenEncoder(WORDS), None, None),
        (TokenListEncoder(WORDS, 3), ["blue", "green", "red"], "blue, red"),
        (TokenListEncoder(WORDS, 3), [], None),
        (BucketEncoder([18, 30.5]), 17, "below 18"),
        (BucketEncoder([18, 30.5]), 18, "18 to 30.5"),
        (BucketEncoder([18, 30.5]), 99, "30.5 or more"),
        (BucketEncoder([18, 30.5]), None, None),
        (BooleanEncoder(), True, "yes"),
        (BooleanEncoder(), False, "no"),
        (BooleanEncoder(), None, None),
        (NumberEncoder("standardize", 40.0, 10.0), 33, "33"),
        (NumberEncoder("standardize", 51217.3, 38889.1), 0, "0"),
        (NumberEncoder("log", 3.0, 2.0), -1234, "-1234"),
        (NumberEncoder("log", 3.0, 2.0), None, None),
        (HashedTokenEncoder(10), "red", None),
        (VectorEncoder(2), [1, 2], None),
    ],
)
def test_what_was_encoded_is_readable_again(encoder: Encoder, value: Any, text: str | None) -> None:
    assert readable(encoder, encoder.encode_value(value, "value")) == text


@pytest.mark.parametrize(
    ("encoder", "given", "choices"),
    [
        (TokenEncoder(WORDS), "text", ["red", "blue"]),
        (TokenEncoder(Vocabulary(map(str, range(51)))), "text", []),
        (TokenListEncoder(WORDS, 3), "list", ["red", "blue"]),
        (WeightedListEncoder(WORDS, 3), "json", []),
        (VectorEncoder(2), "numbers", []),
        (BucketEncoder([1]), "number", []),
        (TimestampEncoder(1.0, 1.0), "time", []),
        (BooleanEncoder(), "boolean", []),
    ],
)
def test_what_a_form_asks(encoder: Encoder, given: str, choices: list[str]) -> None:
    field = field_of("f", encoder, required=True)
    assert (field["input"], field["choices"], field["required"]) == (given, choices, True)
    assert field["expected"] == encoder.expected
