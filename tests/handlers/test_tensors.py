"""Tensors of Open Inference by the features that they are of."""

import pytest

from torchtowers.handlers.encoders import (
    Encoder,
    HashedWordsEncoder,
    TokenListEncoder,
    Vocabulary,
    WordsEncoder,
)
from torchtowers.handlers.tensors import columns_of_tensors

WORDS = Vocabulary(["new", "york"])


@pytest.mark.parametrize(
    ("encoder", "values"),
    [
        (WordsEncoder(WORDS, 3), ["New York", "7"]),
        (HashedWordsEncoder(10, 3), ["New York", "7"]),
        (TokenListEncoder(WORDS, 3), [["New York"], ["7"]]),
    ],
    ids=lambda part: part.kind if isinstance(part, Encoder) else "",
)
def test_a_text_is_one_value_whatever_the_model_makes_of_it(encoder: Encoder, values: list[object]) -> None:
    tensor = {"name": "city", "shape": [2], "datatype": "BYTES", "data": ["New York", "7"]}
    (column,) = columns_of_tensors([tensor], {"city": encoder}, (), (), ())
    assert column.values == values
    for value in values:
        encoder.encode_value(value, "city")
