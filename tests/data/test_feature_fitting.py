from typing import Any

import numpy as np
import polars as pl
import pytest
from pydantic import TypeAdapter

from torchtowers.data.errors import DataError
from torchtowers.data.feature_config import FeatureConfig
from torchtowers.data.feature_fitting import fit_encoders
from torchtowers.handlers.encoders import Encoder, Vocabulary

READ: TypeAdapter[FeatureConfig] = TypeAdapter(FeatureConfig)


def fitted(feature: dict[str, object], column: list[Any], **given: Any) -> Encoder:
    table = pl.DataFrame({"x": pl.Series(column, strict=False)})
    arguments = {"key": None, "listed": "item_id", "ids": {}, "section": "item", **given}
    return fit_encoders({"x": READ.validate_python(feature)}, table, **arguments)["x"]


def described(feature: dict[str, object], column: list[Any], **given: Any) -> dict[str, Any]:
    return fitted(feature, column, **given).to_json()


def tokens(encoder: Encoder) -> tuple[str, ...]:
    return encoder.vocabulary.tokens  # type: ignore[attr-defined,no-any-return]


def test_rare_categories_are_left_out() -> None:
    column = ["b", "a", "b", "c", None, "a", ""]
    assert tokens(fitted({"kind": "token", "min_count": 2}, column)) == ("a", "b")
    assert tokens(fitted({"kind": "token"}, column)) == ("a", "b", "c")
    assert tokens(fitted({"kind": "token_list", "min_count": 2}, [["a", "b"], ["a"], None])) == ("a",)
    assert tokens(fitted({"kind": "token_list"}, ["a|b", '["c"]'])) == ("a", "b", "c")
    weighted = {"kind": "token_list", "weighted": True}
    assert tokens(fitted(weighted, ["a:1|b:2", '{"c": 1}', '[["d", 1]]'])) == ("a", "b", "c", "d")


def test_ids_keep_their_order_and_are_rare_by_their_interactions() -> None:
    given = {"key": "x", "ids": {"x": Vocabulary(["z", "b", "a"])}}
    assert tokens(fitted({"kind": "token"}, ["z", "b", "a"], **given)) == ("z", "b", "a")
    frequent = {"kind": "token", "min_count": 2}
    assert tokens(fitted(frequent, ["z", "b", "a"], counts=np.array([5, 1, 2]), **given)) == ("z", "a")
    with pytest.raises(DataError, match="min_count of x looks at its interactions"):
        fitted(frequent, ["z", "b", "a"], **given)


def test_numbers_are_standardised_by_what_is_there() -> None:
    assert described({"kind": "number"}, [1.0, None, 5.0]) == {
        "kind": "number",
        "transform": "standardize",
        "mean": 3.0,
        "deviation": 2.0,
    }
    log = described({"kind": "number", "transform": "log"}, [0.0, np.e - 1])
    assert (log["mean"], log["deviation"]) == (pytest.approx(0.5), pytest.approx(0.5))
    assert described({"kind": "number"}, [4, 4])["deviation"] == 1.0
    assert described({"kind": "number"}, [1e300, -1e300])["deviation"] == pytest.approx(1e300)


def test_quantiles_hold_equally_many() -> None:
    feature: dict[str, object] = {"kind": "number", "transform": "quantiles", "buckets": 4}
    encoder = fitted(feature, list(range(100)))
    counts = np.bincount([encoder.encode_value(value, "x") for value in range(100)])
    assert counts.tolist() == [0, 25, 25, 25, 25]
    assert described(feature, [3, 3, 3]) == {"kind": "buckets", "boundaries": [3.0]}


def test_words_are_hashed_into_as_many_buckets_as_their_number_asks_for() -> None:
    column = ["a b c", "A d", None]
    assert described({"kind": "words"}, column) == {"kind": "hashed_words", "buckets": 8, "max_length": 32}
    assert described({"kind": "words", "hash_buckets": 3}, column)["buckets"] == 3
    assert tokens(fitted({"kind": "words", "vocabulary": True, "min_count": 2}, column)) == ("a",)


def test_a_time_is_told_by_the_latest_one() -> None:
    day = 86_400
    feature: dict[str, object] = {"kind": "timestamp"}
    found = described(feature, [10 * day, 3 * day, None])
    assert found == {
        "kind": "timestamp",
        "reference": 10 * day,
        "scale": pytest.approx(np.log(8)),
        "unit": "s",
    }
    assert described(feature, ["1970-01-11", "1970-01-04"]) == found
    assert described({"kind": "timestamp", "unit": "ms"}, [10 * day * 1000, 3 * day * 1000]) == {
        **found,
        "unit": "ms",
    }


def test_a_vector_is_scaled_by_its_root_mean_square() -> None:
    assert described({"kind": "vector"}, [[3.0, -3.0], None, [3.0, 3.0]]) == {
        "kind": "vector",
        "width": 2,
        "scale": 3.0,
    }
    assert described({"kind": "vector"}, ["1|-1|1", None]) == {"kind": "vector", "width": 3, "scale": 1.0}


def test_a_shared_vocabulary_is_the_other_features() -> None:
    genres = fitted({"kind": "token_list"}, [["a", "b"]])
    shared = fitted({"kind": "token", "share": "genres"}, ["b", "z"], others={"genres": genres})
    assert tokens(shared) is tokens(genres)
    with pytest.raises(DataError, match="x shares the table of genres"):
        fitted({"kind": "token", "share": "genres"}, ["b"])


def test_a_history_has_the_items_vocabulary() -> None:
    items = Vocabulary(["i", "j"])
    assert tokens(fitted({"kind": "history"}, [1], ids={"item_id": items})) is items.tokens
    with pytest.raises(DataError, match="a history needs the ids that it lists, item_id"):
        fitted({"kind": "history"}, [1])


@pytest.mark.parametrize(
    ("feature", "column", "said"),
    [
        ({"kind": "number"}, ["1"], "x is of kind number, which takes numbers; the column holds String"),
        ({"kind": "number"}, [True], "which takes numbers; the column holds Boolean"),
        ({"kind": "boolean"}, ["yes"], "which takes true and false, or 1 and 0; the column holds String"),
        (
            {"kind": "hashed_token", "buckets": 3},
            [1.5],
            "which takes strings or integers; the column holds Float64",
        ),
        ({"kind": "timestamp"}, [True], "which takes dates, numbers since 1970 or ISO 8601 texts"),
        ({"kind": "vector"}, [["a"]], "which takes lists of numbers"),
        ({"kind": "token_list", "weighted": True}, [1], "which takes lists of pairs"),
        (
            {"kind": "number"},
            pl.Series([None, None], dtype=pl.Float64),
            "features.item: the column x has no value: leave it out",
        ),
        ({"kind": "timestamp"}, ["soon"], "x: got soon, which is no time: expected 2024-03-01 or"),
        ({"kind": "timestamp"}, [""], "x is a timestamp, and its column has none: leave it out"),
        (
            {"kind": "vector"},
            pl.Series([[]], dtype=pl.List(pl.Int64)),
            "x is a vector, .* has none: leave it out",
        ),
        (
            {"kind": "token", "min_count": 3},
            ["a", "a", "b"],
            "x has min_count 3, .* more than 2 times",
        ),
        (
            {"kind": "vector"},
            pl.Series([None], dtype=pl.List(pl.Float64)),
            "features.item: the column x has no value: leave it out",
        ),
        (
            {"kind": "number"},
            [1.0, float("nan")],
            "column x: expected a finite number, .* got nan",
        ),
        (
            {"kind": "timestamp"},
            [1_500_000_000_000],
            "as ms it is: set the unit of x to ms",
        ),
    ],
)
def test_a_column_that_can_not_be_fitted_is_refused(
    feature: dict[str, object], column: Any, said: str
) -> None:
    with pytest.raises(DataError, match=said):
        fitted(feature, column)


def test_a_vocabulary_of_one() -> None:
    assert fitted({"kind": "token"}, ["a", "a"]).size == 3
