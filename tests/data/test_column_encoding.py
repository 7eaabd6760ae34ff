"""A column gives what its values give one by one, for every kind of encoder and type of column."""

from datetime import UTC, datetime
from typing import Any

import numpy as np
import polars as pl
import pytest

from torchtowers.data.column_encoding import Column, encode_columns, taken
from torchtowers.data.errors import DataError
from torchtowers.data.ragged import Ragged
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
)

WORDS = Vocabulary(["a", "b", "7", "été"])
TOKENS = ["a", "z", None, "b", "", "a", "été", "z"]
NUMBERS = [1.5, None, -2.0, 1.5, 0.0, 1e12, 7.0]
MOMENTS = [datetime(2020, 2, 29, 23, 30, 5, tzinfo=UTC), None, datetime(1999, 12, 31, tzinfo=UTC)]

CASES: list[tuple[Encoder, pl.Series, list[Any]]] = [
    (TokenEncoder(WORDS), pl.Series(TOKENS), TOKENS),
    (TokenEncoder(WORDS, 4), pl.Series(TOKENS), TOKENS),
    (TokenEncoder(WORDS), pl.Series([7, None, 8, 7], dtype=pl.Int16), [7, None, 8, 7]),
    (HashedTokenEncoder(5), pl.Series(TOKENS), TOKENS),
    (HashedTokenEncoder(5), pl.Series([7, None, 8]), [7, None, 8]),
    (UnifiedTokenEncoder(5, 2, "x"), pl.Series(TOKENS), TOKENS),
    (BooleanEncoder(), pl.Series([True, None, False, True]), [True, None, False, True]),
    (BooleanEncoder(), pl.Series([1, None, 0]), [1, None, 0]),
    (BucketEncoder([-1.0, 1.5]), pl.Series(NUMBERS), NUMBERS),
    (BucketEncoder([3]), pl.Series([1, None, 3], dtype=pl.UInt8), [1, None, 3]),
    (NumberEncoder("standardize", 1.0, 3.0), pl.Series(NUMBERS), NUMBERS),
    (NumberEncoder("log", 1.0, 3.0), pl.Series(NUMBERS), NUMBERS),
    (NumberEncoder("log", 1.0, 3.0), pl.Series([2, None]), [2, None]),
    (WordsEncoder(WORDS, 2), pl.Series(["A b été", None, "z", "A b été"]), ["A b été", None, "z", "A b été"]),
    (HashedWordsEncoder(9, 2), pl.Series(["x y z", None, ""]), ["x y z", None, ""]),
    (
        TokenListEncoder(WORDS, 2),
        pl.Series([["a", "z"], None, [], ["a", "b", "7"]]),
        [["a"], None, [], ["b", "7"]],
    ),
    (
        TokenListEncoder(WORDS, 2),
        pl.Series(["a|z", None, "", '["a", "b", "7"]']),
        [["a"], None, [], ["b", 7]],
    ),
    (TokenListEncoder(WORDS, 2), pl.Series([[7], None]), [["7"], None]),
    (
        WeightedListEncoder(WORDS, 2),
        pl.Series(["a:0.5|z:1", None, "", '{"a": 1, "b": -0.1}', '[["7", 2]]']),
        [{"a": 0.5}, None, [], {"a": 1, "b": -0.1}, [["7", 2]]],
    ),
    (
        WeightedListEncoder(WORDS, 2),
        pl.Series([[{"token": "a", "weight": 0.5}, {"token": "z", "weight": 1.0}], None]),
        [{"a": 0.5}, None],
    ),
    (VectorEncoder(2, 3.0), pl.Series([[1.0, 2.0], None, [-1e30, 0.1]]), [[1.0, 2.0], None, [-1e30, 0.1]]),
    (VectorEncoder(2, 3.0), pl.Series([[1, 2], None], dtype=pl.Array(pl.Int32, 2)), [[1, 2], None]),
    (VectorEncoder(2, 3.0), pl.Series(["1|2.5", None, "[3, 4]"]), [[1, 2.5], None, [3, 4]]),
    (TimestampEncoder(1.6e9, 2.0), pl.Series([1_500_000_001, None, 0]), [1_500_000_001, None, 0]),
    (TimestampEncoder(1.6e9, 2.0, "ms"), pl.Series([1_500_000_001_999, None]), [1_500_000_001_999, None]),
    (TimestampEncoder(1.6e9, 2.0), pl.Series(MOMENTS), [m and m.timestamp() for m in MOMENTS]),
    (
        TimestampEncoder(1.6e9, 2.0),
        pl.Series([m and m.isoformat() for m in MOMENTS]),
        [m and m.isoformat() for m in MOMENTS],
    ),
    (TimestampEncoder(1.6e9, 2.0), pl.Series([MOMENTS[0].date(), None]), ["2020-02-29", None]),  # type: ignore[union-attr]
]


@pytest.mark.parametrize(("encoder", "column", "values"), CASES, ids=lambda value: getattr(value, "kind", ""))
def test_a_column_is_what_its_values_are(encoder: Encoder, column: pl.Series, values: list[Any]) -> None:
    columns = encode_columns(pl.DataFrame({"x": column}), {"x": encoder}, {})
    expected = encoder.stack([encoder.encode_value(value, "x") for value in values])
    assert list(columns) == ["x" + spec.suffix for spec in encoder.tensors]
    for spec, array in zip(encoder.tensors, expected, strict=True):
        got = columns["x" + spec.suffix]
        assert isinstance(got, Ragged) == spec.is_ragged
        batch = got.take(np.arange(len(values))) if isinstance(got, Ragged) else got
        assert batch.dtype == spec.dtype
        np.testing.assert_array_equal(batch, array)


@pytest.mark.parametrize(("encoder", "column", "values"), CASES, ids=lambda value: getattr(value, "kind", ""))
def test_an_empty_column(encoder: Encoder, column: pl.Series, values: list[Any]) -> None:
    assert values
    columns = encode_columns(pl.DataFrame({"x": column.clear()}), {"x": encoder}, {})
    assert all(len(got) == 0 for got in columns.values())


@pytest.mark.parametrize(
    ("encoder", "column", "said"),
    [
        (
            NumberEncoder("log", 0.0, 1.0),
            [1.0, float("nan")],
            "column x: expected a finite number, or null where there is none, got nan",
        ),
        (BucketEncoder([1]), [1.0, float("inf")], "expected a finite number, .* got inf"),
        (BooleanEncoder(), [0, 2], "expected true or false, got 2"),
        (VectorEncoder(2), [[1.0, 2.0], [1.0]], "expected a list of 2 finite numbers"),
        (VectorEncoder(2), [[1.0, float("nan")]], r"x\[1\]: expected a finite number"),
        (VectorEncoder(2), ["1|b"], r"x\[1\]: expected a finite number, got b"),
        (TokenListEncoder(WORDS, 2), ['["a"'], "expected a list as JSON, or with bars"),
        (TokenListEncoder(WORDS, 2), ['{"a": 1}'], "expected a list of strings or integers"),
        (WeightedListEncoder(WORDS, 2), ["a:much"], r"x\[0\]: expected a finite weight, got much"),
        (TimestampEncoder(1.6e9, 2.0), ["soon"], "x: got soon, which is no time"),
        (TimestampEncoder(1.6e9, 2.0), [1_500_000_000_000], "which is no time from 1970 to 2100"),
    ],
)
def test_a_bad_value_is_named(encoder: Encoder, column: list[Any], said: str) -> None:
    with pytest.raises(DataError, match=said):
        encode_columns(pl.DataFrame({"x": column}), {"x": encoder}, {})


def test_rows_are_taken_of_every_kind_of_column() -> None:
    rows = np.array([2, 0, 2])
    columns: list[Column] = [np.array([1, 2, 3]), np.eye(3), Ragged.of([[1], [], [0.5, 2]], np.float32)]
    scalar, dense, ragged = (taken(column, rows) for column in columns)
    assert scalar.tolist() == [3, 1, 3]  # type: ignore[union-attr]
    assert dense.tolist() == [[0, 0, 1], [1, 0, 0], [0, 0, 1]]  # type: ignore[union-attr]
    assert isinstance(ragged, Ragged)
    assert [ragged[row].tolist() for row in range(3)] == [[0.5, 2], [1], [0.5, 2]]
