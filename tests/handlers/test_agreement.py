from typing import Any

import pytest

from torchtowers.handlers.agreement import agree

ANSWER = {"items": ["a", "b", "c"], "scores": [3.0, 2.0, 1.0]}


@pytest.mark.parametrize(
    "other",
    [
        ANSWER,
        {"items": ["a", "b", "c"], "scores": [3.00001, 2, 1.0]},
        # The last place was a tie of c and d.
        {"items": ["a", "b", "d"], "scores": [3.0, 2.0, 1.00001]},
    ],
)
def test_answers_that_say_the_same(other: Any) -> None:
    assert agree(ANSWER, other)
    assert agree({"predictions": [ANSWER]}, {"predictions": [other]})


def test_items_with_equal_scores_may_change_places() -> None:
    ties = {"items": ["a", "b", "c"], "scores": [2.00001, 2.0, 1.0]}
    assert agree(ties, {"items": ["b", "a", "c"], "scores": [2.00001, 2.0, 1.0]})


@pytest.mark.parametrize(
    "other",
    [
        {"items": ["b", "a", "c"], "scores": [3.0, 2.0, 1.0]},
        {"items": ["d", "b", "c"], "scores": [3.0, 2.0, 1.0]},
        {"items": ["a", "b"], "scores": [3.0, 2.0]},
        {"items": ["a", "b", "c"], "scores": [3.0, 2.0, 1.1]},
        {"items": ["a", "b", "c"], "scores": [3.0, 2.0, 1.0], "fields": {}},
        {"code": 503},
        None,
    ],
)
def test_answers_that_differ(other: Any) -> None:
    assert not agree(ANSWER, other)
    assert not agree([ANSWER], [other])


def test_booleans_are_no_numbers() -> None:
    assert not agree({"a": True}, {"a": 1.0})
    assert agree(1.0, 1)
