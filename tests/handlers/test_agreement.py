from typing import Any

import numpy as np
import pytest

from torchtowers.handlers.agreement import Tolerance, agree, tolerance_of

ANSWER = {"items": ["a", "b", "c"], "scores": [3.0, 2.0, 1.0]}


@pytest.mark.parametrize(
    "other",
    [
        ANSWER,
        {"items": ["a", "b", "c"], "scores": [3.00001, 2, 1.0]},
        # The last place was a tie of c and d; rounding took from the one and gave to the other.
        {"items": ["a", "b", "d"], "scores": [3.0, 2.0, 1.00009]},
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


@pytest.mark.parametrize(
    ("places", "same"), [("abcd", True), ("abxc", True), ("abxy", True), ("axyz", False)]
)
def test_of_two_stages_in_half_precision_half_of_the_items_have_to_be_found_by_both(
    places: str, same: bool
) -> None:
    one = {"items": [*"abcd"], "scores": [4.0, 3.0, 2.0, 1.0]}
    scores = dict(zip("abcdxyz", [4.02, 3.01, 2.03, 0.99, 9.0, 8.0, 7.0], strict=True))
    other = {"items": [*places], "scores": [scores[item] for item in places]}
    assert agree(one, other, tolerance_of("bfloat16", "recommendation")) == same
    assert agree(other, one, tolerance_of("bfloat16", "recommendation")) == same
    assert agree(one, other, tolerance_of("bfloat16", "retrieval")) == (places == "abcd")
    assert not agree(one, other, tolerance_of("float32", "recommendation"))
    off = other | {"scores": [score * 1.1 for score in other["scores"]]}
    assert not agree(one, off, tolerance_of("bfloat16", "recommendation"))


def test_half_precision_is_allowed_four_times_its_epsilon() -> None:
    import torch

    for name in ("bfloat16", "float16"):
        expected = 4 * torch.finfo(getattr(torch, name)).eps
        assert tolerance_of(name, "ranking") == Tolerance(expected, 1.0)
    assert tolerance_of("float32", "recommendation") == Tolerance(1e-4, 1.0)


@pytest.mark.parametrize("tolerance", [1e-4, 0.03])
def test_items_that_both_orders_place_within_the_tolerance_agree(tolerance: float) -> None:
    """Whatever each true score is off by, up to half the tolerance in each answer, the best k agree."""
    generator = np.random.default_rng(0)
    for _ in range(300):
        true = generator.normal(size=30) * generator.choice([0.1, 1, 10])
        answers = []
        for _ in range(2):
            off = generator.choice([-1, 1], 30) * tolerance / 2 * np.maximum(1, np.abs(true)) * 0.9
            best = np.argsort(-(true + off), kind="stable")[:10]
            answers.append({"items": best.tolist(), "scores": (true + off)[best].tolist()})
        assert agree(answers[0], answers[1], Tolerance(tolerance))


def test_booleans_are_no_numbers() -> None:
    assert not agree({"a": True}, {"a": 1.0})
    assert agree(1.0, 1)
