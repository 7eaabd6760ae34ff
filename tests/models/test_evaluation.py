from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.tiny import tiny_config, tiny_tables
from torchtowers.data.config import SplitConfig
from torchtowers.data.dataset import prepare
from torchtowers.data.interactions import Interactions
from torchtowers.models.errors import TrainingError
from torchtowers.models.evaluation import Scorer, evaluate, evaluate_retrieval, seen_before


def interactions(*pairs: tuple[int, int]) -> Interactions:
    return Interactions(
        np.array([u for u, _ in pairs], dtype=np.int64), np.array([i for _, i in pairs], dtype=np.int64)
    )


def fixed(table: list[list[float]]) -> Scorer:
    def score(users: NDArray[np.int64]) -> NDArray[np.float32]:
        return np.array(table, dtype=np.float32)[users]

    return score


# User 0 likes item 3 best, then 1, 2, 0; user 1 the other way round.
SCORER = fixed([[0.1, 0.3, 0.2, 0.4], [0.4, 0.2, 0.3, 0.1]])


def test_figures_by_hand() -> None:
    test = interactions((0, 3), (0, 0), (1, 2))
    figures = evaluate(SCORER, test, interactions((1, 0)), accuracy_at=(1, 2), ranking_at=(2,))
    # Seen included: ranks 0, 3 for user 0, rank 1 for user 1.
    assert figures["top_1_accuracy/seen_included"] == pytest.approx(1 / 3)
    assert figures["top_2_accuracy/seen_included"] == pytest.approx(2 / 3)
    assert figures["recall@2/seen_included"] == pytest.approx((1 / 2 + 1) / 2)
    first, second = 1.0, 1 / np.log2(3)
    assert figures["ndcg@2/seen_included"] == pytest.approx((first / (first + second) + second) / 2)
    # Seen excluded: user 1's item 2 is now first.
    assert figures["top_1_accuracy"] == pytest.approx(2 / 3)
    assert figures["ndcg@2"] == pytest.approx((first / (first + second) + 1) / 2)
    # User 0's second item is at place 4 in both; user 1's at place 1 and, seen included, 2.
    assert figures["precision@2"] == figures["precision@2/seen_included"] == pytest.approx(1 / 2)
    assert figures["map@2"] == pytest.approx((1 / 2 + 1) / 2)
    assert figures["map@2/seen_included"] == pytest.approx((1 / 2 + 1 / 2) / 2)
    assert figures["mrr@2"] == 1
    assert figures["mrr@2/seen_included"] == pytest.approx(3 / 4)
    assert figures["hit_rate@2"] == figures["hit_rate@2/seen_included"] == 1
    # Lists of two: items 3 and 1; seen excluded items 2 and 1, included 0 and 2.
    assert figures["coverage@2"] == pytest.approx(3 / 4)
    assert figures["coverage@2/seen_included"] == 1


def test_what_comes_twice_is_two_interactions_and_one_relevant_item() -> None:
    once, twice = interactions((0, 3), (0, 0), (1, 2)), interactions((0, 3), (1, 2), (0, 0), (0, 3))
    settings: dict[str, Any] = {"accuracy_at": (1,), "ranking_at": (1, 2)}
    single, repeated = (evaluate(SCORER, test, interactions((1, 0)), **settings) for test in (once, twice))
    assert repeated.pop("top_1_accuracy") == pytest.approx(3 / 4)
    assert repeated.pop("top_1_accuracy/seen_included") == pytest.approx(2 / 4)
    assert repeated == {name: single[name] for name in repeated}
    assert repeated["recall@1/seen_included"] == pytest.approx((1 / 2 + 0) / 2)


def test_without_interactions_there_is_no_figure() -> None:
    with pytest.raises(TrainingError, match="no interactions to measure by"):
        evaluate(SCORER, interactions(), interactions((0, 3)))


def test_an_interaction_that_is_seen_too_is_never_found() -> None:
    figures = evaluate(SCORER, interactions((0, 3)), interactions((0, 3), (0, 1), (5, 2)), accuracy_at=(1, 9))
    assert (figures["top_1_accuracy/seen_included"], figures["top_9_accuracy/seen_included"]) == (1, 1)
    assert (figures["top_1_accuracy"], figures["top_9_accuracy"]) == (0, 0)
    # Two items are left of the four.
    assert (figures["coverage@10"], figures["coverage@10/seen_included"]) == (1 / 2, 1)


def test_names_are_those_asked_for_and_a_k_may_come_twice() -> None:
    test = interactions((0, 3))
    assert list(evaluate(SCORER, test, test, accuracy_at=(2, 2), ranking_at=())) == [
        "top_2_accuracy",
        "top_2_accuracy/seen_included",
    ]
    names = [
        name for name in evaluate(SCORER, test, test, accuracy_at=(), ranking_at=(3, 3)) if "/" not in name
    ]
    assert names == ["recall@3", "ndcg@3", "precision@3", "mrr@3", "map@3", "hit_rate@3", "coverage@3"]


def test_each_users_scores_are_computed_once_and_stay_as_they_are() -> None:
    asked: list[int] = []
    table = np.arange(4 * 600, dtype=np.float32).reshape(600, 4)

    def score(users: NDArray[np.int64]) -> NDArray[np.float32]:
        asked.extend(users.tolist())
        return table

    def by_rows(users: NDArray[np.int64]) -> NDArray[np.float32]:
        return score(users)[users]

    test = interactions(*((user, user % 4) for user in range(599, -1, -1)))
    figures = evaluate(by_rows, test, interactions((0, 3)), accuracy_at=(1,))
    assert asked == list(range(600))
    assert (table == np.arange(4 * 600).reshape(600, 4)).all()
    assert figures["top_1_accuracy"] == 1 / 4


def test_groups_are_the_figures_of_parts() -> None:
    test = interactions((0, 3), (0, 0), (1, 2))
    evaluation = evaluate_retrieval(
        SCORER, test, interactions((1, 0), (1, 3)), accuracy_at=(1,), ranking_at=(2,)
    )
    assert evaluation.figures == evaluate(
        SCORER, test, interactions((1, 0), (1, 3)), accuracy_at=(1,), ranking_at=(2,)
    )
    unknown, active = evaluation.groups["user_activity"]
    assert (unknown["label"], unknown["users"], unknown["interactions"]) == ("0", 1, 2)
    assert unknown["figures"]["recall@2"] == 1 / 2
    assert (active["label"], active["users"], active["interactions"]) == ("2", 1, 1)
    assert active["figures"]["recall@2"] == active["figures"]["top_1_accuracy"] == 1
    rare, known = evaluation.groups["item_popularity"]
    assert (rare["label"], rare["users"], rare["interactions"]) == ("0", 1, 1)
    assert rare["figures"]["recall@2"] == 1
    # Items 3 and 0 of user 0: one is first, the other last.
    assert (known["label"], known["users"], known["interactions"]) == ("1", 1, 2)
    assert known["figures"]["recall@2"] == 1 / 2


def test_at_the_test_validation_is_past() -> None:
    dataset = prepare(
        tiny_tables(),
        tiny_config().data,
        SplitConfig(kind="random", test_fraction=0.2, validation_fraction=0.25),
        tiny_config().features,
    )
    assert len(seen_before(dataset, "validation")) == len(dataset.train)
    seen = seen_before(dataset, "test")
    assert seen.items.tolist() == [*dataset.train.items, *dataset.validation.items]


def test_scores_that_are_not_finite_are_no_result() -> None:
    for value in (np.nan, np.inf, -np.inf):
        with pytest.raises(TrainingError, match="not finite"):
            evaluate(fixed([[0.1, value]]), interactions((0, 0)), interactions())


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_figures_equal_a_slow_reference(seed: int) -> None:
    generator = np.random.default_rng(seed)
    users, items = 300, 7
    table = generator.integers(0, 5, (users, items)).astype(np.float32)
    pairs = {
        (int(u), int(i))
        for u, i in zip(generator.integers(0, users, 80), generator.integers(0, items, 80), strict=True)
    }
    ordered = sorted(pairs, key=lambda pair: hash((pair, seed)))
    test, seen = ordered[:40], ordered[40:]
    ks = tuple(range(1, items + 1))
    figures = evaluate(
        fixed(table.tolist()), interactions(*test), interactions(*seen), accuracy_at=ks, ranking_at=ks
    )
    for suffix, excluded in (("", set(seen)), ("/seen_included", set())):
        ranks: dict[int, list[int]] = {}
        for user, item in test:
            rivals = [i for i in range(items) if i != item and (user, i) not in excluded]
            rank = sum(table[user, rival] > table[user, item] for rival in rivals)
            ranks.setdefault(user, []).append(int(rank))
        everyone = [rank for own in ranks.values() for rank in own]
        for k in ks:
            assert figures[f"top_{k}_accuracy{suffix}"] == pytest.approx(np.mean(np.array(everyone) < k))
            recalls = [np.mean(np.array(own) < k) for own in ranks.values()]
            assert figures[f"recall@{k}{suffix}"] == pytest.approx(np.mean(recalls))
            reciprocal = [1 / (min(own) + 1) if min(own) < k else 0 for own in ranks.values()]
            assert figures[f"mrr@{k}{suffix}"] == pytest.approx(np.mean(reciprocal))
