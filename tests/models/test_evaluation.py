import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from torchtowers.data.dataset import Interactions
from torchtowers.models.errors import TrainingError
from torchtowers.models.evaluation import Scorer, evaluate, popularity_scorer, rank_interactions


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


def test_ranks_by_hand() -> None:
    test = interactions((0, 1), (1, 1), (0, 0))
    assert rank_interactions(SCORER, test, None).tolist() == [1, 2, 3]
    # Item 3 is seen by user 0, item 0 by user 1: they no longer compete.
    seen = interactions((0, 3), (1, 0), (5, 2))
    assert rank_interactions(SCORER, test, seen).tolist() == [0, 1, 2]


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


def test_popularity_counts_training_interactions() -> None:
    scorer = popularity_scorer(interactions((0, 2), (1, 2), (1, 0)), items=3)
    assert scorer(np.array([0, 1])).tolist() == [[1, 0, 2], [1, 0, 2]]


def test_scores_that_are_not_finite_are_no_result() -> None:
    with pytest.raises(TrainingError, match="not finite"):
        rank_interactions(fixed([[0.1, float("nan")]]), interactions((0, 0)), None)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_ranks_equal_a_slow_reference(seed: int) -> None:
    generator = np.random.default_rng(seed)
    users, items = 300, 7
    table = generator.integers(0, 5, (users, items)).astype(np.float32)
    pairs = {
        (int(u), int(i))
        for u, i in zip(generator.integers(0, users, 80), generator.integers(0, items, 80), strict=True)
    }
    ordered = sorted(pairs, key=lambda pair: hash((pair, seed)))
    test, seen = ordered[:40], ordered[40:]
    expected = []
    for user, item in test:
        rivals = [i for i in range(items) if i != item and (user, i) not in set(seen)]
        expected.append(sum(table[user, rival] > table[user, item] for rival in rivals))
    ranks = rank_interactions(lambda rows: table[rows].copy(), interactions(*test), interactions(*seen))
    assert ranks.tolist() == expected
