"""Encoders against values worked out by hand, and against anything at all."""

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.handlers.small import examples, integers, json_values, texts
from torchtowers.handlers.encoders import (
    BooleanEncoder,
    BucketEncoder,
    Encoder,
    HashedTokenEncoder,
    HashedWordsEncoder,
    NumberEncoder,
    TimestampEncoder,
    TokenEncoder,
    TokenListEncoder,
    UnifiedTokenEncoder,
    VectorEncoder,
    Vocabulary,
    WeightedListEncoder,
    WordsEncoder,
    encoder_from_json,
    pad,
    tensor_names,
    words_of,
)
from torchtowers.handlers.errors import FieldError, SignatureError

VOCABULARY = Vocabulary(["a", "b", "7", "été"])
ENCODERS: list[Encoder] = [
    TokenEncoder(VOCABULARY),
    TokenListEncoder(VOCABULARY, 3),
    WordsEncoder(VOCABULARY, 3),
    BucketEncoder([-1.5, 0, 30]),
    TokenEncoder(VOCABULARY, 3),
    HashedTokenEncoder(5),
    UnifiedTokenEncoder(10, 2, "city"),
    WeightedListEncoder(VOCABULARY, 3),
    HashedWordsEncoder(5, 3),
    BooleanEncoder(),
    NumberEncoder("standardize", 3.0, 2.0),
    NumberEncoder("log", 0.0, 1.0),
    TimestampEncoder(1_600_000_000, 5.0),
    VectorEncoder(2, 3.0),
]


@pytest.mark.parametrize(
    ("value", "index"), [("a", 2), ("7", 4), (7, 4), ("z", 1), (-1, 1), ("", 0), (None, 0), ("\ud800", 1)]
)
def test_token(value: object, index: int) -> None:
    assert TokenEncoder(VOCABULARY).encode_value(value, "user_id") == index


@pytest.mark.parametrize("value", [True, False, 7.0, math.nan, [], ["a"], {}])
def test_token_refuses(value: object) -> None:
    with pytest.raises(FieldError, match=r"^user_id: expected a string or an integer, got ") as caught:
        TokenEncoder(VOCABULARY).encode_value(value, "user_id")
    assert caught.value.field == "user_id"


@pytest.mark.parametrize(
    ("value", "indices"),
    [
        (["a", "b"], [2, 3]),
        (("a", 7), [2, 4]),
        (["z", "a", ""], [2]),
        (["a", "b", 7, "été"], [3, 4, 5]),  # the last three
        (["a", "b", 7, "z"], [2, 3, 4]),  # unknown ones take no place
        ([], []),
        (None, []),
    ],
)
def test_token_list(value: object, indices: list[int]) -> None:
    assert TokenListEncoder(VOCABULARY, 3).encode_value(value, "history") == indices


def test_token_list_gives_all_of_a_longer_list() -> None:
    assert TokenListEncoder(VOCABULARY, 1).indices(["a", "z", "b"], "history") == [2, 3]


@pytest.mark.parametrize(
    ("value", "field", "expected"),
    [
        ("a", "history", "a list of strings or integers"),
        ({"a": 1}, "history", "a list of strings or integers"),
        (["a", None], "history[1]", "a string or an integer"),
        ([["a"]], "history[0]", "a string or an integer"),
        ([True], "history[0]", "a string or an integer"),
    ],
)
def test_token_list_refuses(value: object, field: str, expected: str) -> None:
    with pytest.raises(FieldError) as caught:
        TokenListEncoder(VOCABULARY, 3).encode_value(value, "history")
    assert caught.value.field == field
    assert f"{field}: expected {expected}, got " in str(caught.value)


@pytest.mark.parametrize(
    ("value", "indices"),
    [("A, b!", [2, 3]), ("ÉTÉ z b", [5, 3]), ("a a a b", [2, 2, 2]), ("z", []), ("", []), (None, [])],
)
def test_words(value: object, indices: list[int]) -> None:
    assert WordsEncoder(VOCABULARY, 3).encode_value(value, "title") == indices


def test_words_of() -> None:
    assert words_of("L'Été_2 -- in 1984!") == ["l", "été_2", "in", "1984"]


@pytest.mark.parametrize(
    ("value", "bucket"),
    [
        (None, 0),
        (-2, 1),
        (-1.5, 2),  # a boundary belongs to the bucket above it
        (-0.0, 3),
        (29.999, 3),
        (30, 4),
        (np.float64(30), 4),
        (np.int32(-9), 1),
        pytest.param(10**400, 4, id="beyond the floats"),
        pytest.param(-(10**400), 1, id="below the floats"),
    ],
)
def test_buckets(value: object, bucket: int) -> None:
    assert BucketEncoder([-1.5, 0, 30]).encode_value(value, "age") == bucket


@pytest.mark.parametrize(
    "value", [math.nan, math.inf, -math.inf, np.float32("inf"), "30", "", True, [30], {}]
)
def test_buckets_refuse(value: object) -> None:
    with pytest.raises(FieldError, match=r"^age: expected a finite number, got "):
        BucketEncoder([18]).encode_value(value, "age")


@pytest.mark.parametrize(
    "boundaries", [[], [2, 1], [1, 1], [1, math.nan], [math.inf], ["a", "b"], [True, 2], "12"]
)
def test_boundaries_have_to_be_finite_and_ascend(boundaries: Any) -> None:
    with pytest.raises(ValueError, match="boundaries have to"):
        BucketEncoder(boundaries)


@pytest.mark.parametrize("max_length", [0, -1, 1.5, "3", True, None])
@pytest.mark.parametrize("kind", [TokenListEncoder, WordsEncoder])
def test_max_length_has_to_be_positive(kind: Any, max_length: object) -> None:
    with pytest.raises(ValueError, match="max_length has to be an integer of at least 1"):
        kind(VOCABULARY, max_length)


def test_columns() -> None:
    assert TokenEncoder(VOCABULARY).encode(["a", None, "z"]).tolist() == [2, 0, 1]
    lists = TokenListEncoder(VOCABULARY, 3).encode([["a", "b"], None, ["z", "b"]])
    assert lists.tolist() == [[2, 3], [0, 0], [3, 0]]
    assert lists.dtype == np.int64
    assert BucketEncoder([0.5]).encode([]).shape == (0,)
    assert WordsEncoder(VOCABULARY, 3).encode([]).shape == (0, 1)


def test_pad_gives_a_length_of_at_least_one() -> None:
    assert pad([[], []]).tolist() == [[0], [0]]
    assert pad([[5], [6, 7]]).tolist() == [[5, 0], [6, 7]]
    assert pad([]).shape == (0, 1)


@pytest.mark.parametrize("encoder", ENCODERS, ids=lambda encoder: encoder.kind)
def test_is_an_encoder_and_comes_back_from_its_description(encoder: Encoder) -> None:
    assert isinstance(encoder, Encoder)
    again = encoder_from_json(encoder.to_json(), getattr(encoder, "vocabulary", None))
    assert type(again) is type(encoder)
    assert again.to_json() == encoder.to_json()
    assert again.size == encoder.size


@pytest.mark.parametrize("encoder", ENCODERS, ids=lambda encoder: encoder.kind)
@examples(100)
@given(
    value=json_values
    | st.lists(texts | integers)
    | st.lists(st.floats(), min_size=2, max_size=2)
    | st.dictionaries(st.sampled_from(["a", "b", "z"]), st.floats())
    | st.sampled_from(["a", "b", "7 été", "2024-02-29T10:00:00+02:00", 1_500_000_000, [["a", 2]]])
)
def test_raises_only_field_errors_and_gives_its_tensors(encoder: Encoder, value: object) -> None:
    try:
        encoded = encoder.encode_value(value, "field")
    except FieldError as error:
        assert str(error).startswith("field")  # noqa: PT017
        return
    with_missing = encoder.stack([encoded, encoder.encode_value(None, "field")])
    for spec, array, alone in zip(encoder.tensors, with_missing, encoder.stack([encoded]), strict=True):
        assert array.dtype == alone.dtype == spec.dtype
        assert array.ndim == len(spec.shape)
        assert len(array) == 2
        assert (array[:1] == alone).all()
        if spec.dtype == "int64":
            assert array.min() >= 0
            assert array.max() < encoder.size
            assert not array[1].any()
        else:
            assert np.isfinite(array).all()
        if spec.is_ragged:
            assert array.shape[1] <= encoder.max_length  # type: ignore[attr-defined]
        elif len(spec.shape) == 2:
            assert array.shape[1] == spec.shape[1]


@examples(100)
@given(
    st.floats(allow_nan=False, allow_infinity=False), st.lists(st.floats(-1e9, 1e9), min_size=1, unique=True)
)
def test_a_bucket_holds_its_value(value: float, boundaries: list[float]) -> None:
    edges = [-math.inf, *sorted(boundaries), math.inf]
    assume(all(low < high for low, high in pairwise(edges)))  # 0.0 and -0.0 are distinct to hypothesis
    bucket = BucketEncoder(edges[1:-1]).encode_value(value, "age")
    assert edges[bucket - 1] <= value < edges[bucket]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({}, "unknown encoder None"),
        ({"kind": "hash"}, "unknown encoder hash; this version knows"),
        ({"kind": ["token"]}, "unknown encoder"),
        ({"kind": "buckets"}, "encoder buckets in the signature is malformed: 'boundaries'"),
        ({"kind": "buckets", "boundaries": 5}, "malformed"),
        ({"kind": "buckets", "boundaries": ["a", "b"]}, "malformed"),
        ({"kind": "token_list"}, "malformed: 'max_length'"),
        ({"kind": "token"}, "malformed: 'oov_buckets'"),
        ({"kind": "hashed_token", "buckets": 0}, "malformed: buckets has to be"),
        ({"kind": "unified_token", "buckets": 9, "hashes": 2, "salt": ""}, "malformed: salt has to be"),
        (
            {"kind": "number", "transform": "root", "mean": 0, "deviation": 1},
            "malformed: transform has to be",
        ),
        ({"kind": "number", "transform": "log", "mean": 0, "deviation": 0}, "malformed: mean and deviation"),
        ({"kind": "timestamp", "reference": 0, "scale": -1, "unit": "s"}, "malformed: reference and scale"),
        ({"kind": "timestamp", "reference": 0, "scale": 1, "unit": "h"}, "malformed: unit has to be"),
        ({"kind": "vector", "width": 0, "scale": 1}, "malformed: width has to be"),
        ({"kind": "vector", "width": 2, "scale": "1"}, "malformed: scale has to be"),
        ({"kind": "token_list", "max_length": 0}, "malformed: max_length has to be"),
        ({"kind": "words", "max_length": "4"}, "malformed: max_length has to be"),
    ],
)
def test_refuses_a_malformed_description(spec: dict[str, Any], message: str) -> None:
    with pytest.raises(SignatureError, match=message):
        encoder_from_json(spec, VOCABULARY)


@pytest.mark.parametrize("kind", ["token", "token_list", "words"])
def test_refuses_a_description_without_its_vocabulary(kind: str) -> None:
    with pytest.raises(SignatureError, match="malformed: 'vocabulary'"):
        encoder_from_json({"kind": kind, "max_length": 3}, None)


def test_names_tensors_in_the_order_of_the_features() -> None:
    encoders: dict[str, Encoder] = {"tastes": WeightedListEncoder(VOCABULARY, 3), "age": BucketEncoder([1])}
    assert tensor_names(encoders) == ["tastes", "tastes.weight", "age"]
