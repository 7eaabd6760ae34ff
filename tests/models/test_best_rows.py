"""The blocks' groups leave out nothing: compared with all scores sorted in plain Python."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from torchtowers.models import best_rows
from torchtowers.models.best_rows import BestRows, Limits
from torchtowers.models.brute_force import BruteForce


def expected(scores: list[float], k: int) -> tuple[list[float], list[int]]:
    rows = [row for row, score in enumerate(scores) if math.isfinite(score)]
    rows.sort(key=lambda row: (-scores[row], row))
    return [scores[row] for row in rows[:k]], rows[:k]


special = st.sampled_from([math.nan, math.inf, -math.inf])


@given(
    st.integers(1, 400),
    st.integers(1, 6),
    st.integers(1, 5),
    st.integers(1, 4),
    st.integers(0, 2**32 - 1),
    st.lists(st.tuples(st.integers(0, 399), special), max_size=8),
    st.sampled_from(["random", "rising", "falling", "equal"]),
)
def test_groups_leave_out_nothing(
    count: int,
    k: int,
    queries: int,
    values: int,
    seed: int,
    odd: list[tuple[int, float]],
    order: str,
) -> None:
    # Few different values make ties at the border; one dimension makes the scores exact.
    rows = torch.from_numpy(np.random.default_rng(seed).integers(-values, values + 1, (count, 1))).float()
    if order == "equal":
        rows.fill_(1.0)
    elif order != "random":
        rows = rows.sort(dim=0, descending=order == "falling").values
    for row, value in odd:
        if row < count:
            rows[row] = value
    factors = torch.arange(queries)[:, None] - 1.0
    with pytest.MonkeyPatch.context() as patch:
        # So that a few hundred rows are several blocks of many groups, and the queries several parts.
        patch.setattr(best_rows, "_GROUP", 4)
        patch.setattr(best_rows, "_QUERIES_AT_ONCE", 2)
        patch.setattr(best_rows, "_SCORES_AT_ONCE", 150)
        best = BestRows(factors, k)
        cut = count // 3
        best.add(rows[:cut])
        best.add(rows[cut:])
    scores, found = best.found()
    for position, factor in enumerate(factors[:, 0].tolist()):
        own = [value * factor for value in rows[:, 0].tolist()]
        best_scores, best_places = expected(own, k)
        finite = scores[position] > -torch.inf
        assert scores[position, finite].tolist() == best_scores
        assert found[position, finite].tolist() == best_places
        assert finite.sum() == len(best_scores)


def test_many_groups_and_blocks_of_a_real_size() -> None:
    generator = torch.Generator().manual_seed(0)
    candidates = torch.randint(-9, 10, (70_000, 4), generator=generator).float()
    queries = torch.randint(-9, 10, (40, 4), generator=generator).float()
    exclude = [list(range(position, 70_000, 40)) for position in range(40)]
    found = BruteForce(candidates).search(queries, 20, exclude)
    scores = (queries @ candidates.T).numpy()
    for position in range(40):
        scores[position, exclude[position]] = -np.inf
        order = np.lexsort((np.arange(70_000), -scores[position]))[:20]
        assert found.ids[position].tolist() == order.tolist()
        assert found.scores[position].tolist() == scores[position, order].tolist()


def test_one_query_is_scored_in_parts_and_their_rest() -> None:
    candidates = torch.arange(1000.0).flip(0)[:, None]
    found = BruteForce(candidates).search(torch.ones(1, 1), 3)
    assert found.pairs() == [[(0, 999.0), (1, 998.0), (2, 997.0)]]
    assert BruteForce(candidates).search(-torch.ones(1, 1), 2).pairs() == [[(999, 0.0), (998, -1.0)]]


def test_limits_are_cut_to_a_part_of_rows_and_queries() -> None:
    limits = Limits.of([[5, 1], [], [2]], [None, [3, 4], []])
    assert limits is not None
    part = limits.part(2, 3, 1, 2)
    assert part.excluded.tolist() == [[0], [1]]
    assert part.included.tolist() == [[1, 2], [0, 0]]
    assert part.restricted.tolist() == [0, 1]
    scores = torch.arange(9.0).reshape(3, 3)[:2]
    part.mask(scores)
    assert scores.tolist() == [[-math.inf, 1.0, 2.0], [-math.inf] * 3]
    assert Limits.of(None, None) is None
