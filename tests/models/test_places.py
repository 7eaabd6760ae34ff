"""Places of items among scores and among what was found, worked out by hand and by a slow reference."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from torchtowers.models import places
from torchtowers.models.brute_force import BruteForce
from torchtowers.models.index import Index, id_array
from torchtowers.models.places import NOWHERE, check_found, check_ks, count, places_by_score, places_found
from torchtowers.models.streaming import Streaming


def test_ranks_by_hand() -> None:
    scores = torch.tensor([[0.1, 0.3, 0.2, 0.4], [0.4, 0.4, 0.4, 0.1]])
    rows, columns = torch.tensor([0, 1, 0, 1]), torch.tensor([1, 1, 0, 3])
    assert places_by_score(scores, rows, columns).tolist() == [1, 0, 3, 3]
    assert places_by_score(scores, rows[:0], columns[:0]).tolist() == []


def test_what_is_not_finite_is_nowhere_and_nan_counts_as_above() -> None:
    scores = torch.tensor([[torch.nan, 1.0, -torch.inf, torch.inf, 0.5]])
    rows = torch.zeros(5, dtype=torch.int64)
    assert places_by_score(scores, rows, torch.arange(5)).tolist() == [NOWHERE, 2, NOWHERE, NOWHERE, 3]


def test_the_scores_stay_as_they_are_in_half_precision_too() -> None:
    scores = torch.arange(600).bfloat16()[None]
    before = scores.clone()
    assert places_by_score(scores, torch.tensor([0]), torch.tensor([0])).tolist() == [599]
    assert torch.equal(scores, before)


def test_more_columns_than_are_added_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "_COLUMNS_AT_ONCE", 3)
    assert count(torch.lt, torch.arange(8.0)[None].repeat(2, 1), torch.tensor([[5.0], [9.0]])).tolist() == [
        5,
        8,
    ]


@given(st.integers(0, 2**32 - 1), st.integers(1, 700))
def test_places_equal_a_slow_reference(seed: int, pairs: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randint(0, 5, (6, 1000), generator=generator).float()
    rows = torch.randint(0, 6, (pairs,), generator=generator)
    columns = torch.randint(0, 1000, (pairs,), generator=generator)
    expected = [
        int((scores[row] > scores[row, column]).sum()) for row, column in zip(rows, columns, strict=True)
    ]
    assert places_by_score(scores, rows, columns).tolist() == expected


@pytest.mark.parametrize("ids", [[7, 3, -1], ["a", "b", "c"]])
def test_places_among_what_was_found(ids: list[int | str]) -> None:
    index = BruteForce(torch.tensor([[1.0], [3.0], [2.0]]), ids)
    # The second answer is short: its last place has the id -1 or None, which is not found there.
    found = index.search(torch.ones(2, 1), 3, exclude=[[], [ids[2]]])
    rows = np.array([0, 0, 0, 1, 1, 1])
    assert places_found(found, rows, index.ids[[0, 1, 2, 0, 1, 2]]).tolist() == [2, 0, 1, 1, 0, NOWHERE]


def test_an_empty_index_is_refused() -> None:
    found = BruteForce(torch.ones(0, 2)).search(torch.ones(1, 2), 3)
    with pytest.raises(ValueError, match="the index holds no candidates"):
        places_found(found, np.array([0]), np.array([0]))


def test_ks_are_checked() -> None:
    for ks in ((), (0, 1), (2, 2)):
        with pytest.raises(ValueError, match="different numbers of at least 1"):
            check_ks(ks)
    check_ks((5, 1))


def test_comparisons_may_go_to_a_workspace() -> None:
    scores, work = torch.arange(600).bfloat16()[None], torch.empty(1, 600)
    before = scores.clone()
    assert count(torch.ge, scores, scores[:, 1:2], work).tolist() == [599]
    assert torch.equal(scores, before)


@pytest.mark.parametrize("streamed", [False, True])
def test_looked_for_ids_are_of_a_kind_that_the_index_has(streamed: bool) -> None:
    candidates, query = torch.tensor([[2.0], [1.0]]), torch.ones(1, 1)

    def check(names: list[Any], wanted: list[Any]) -> None:
        index: Index = Streaming([(names, candidates)]) if streamed else BruteForce(candidates, names)
        check_found(index, query, index.search(query, 1), id_array(wanted))

    for names, wanted in ((["1", "2"], [1]), ([1, 2], ["1"]), ([1, 2], [1, "1"])):
        with pytest.raises(TypeError, match="give ids of the type"):
            check(names, wanted)
    # The best is a text, though the index has numbers too.
    check(["1", 2], [2])
    check(["1", "2"], ["3"])
    check(["1", "2"], [])


def test_without_candidates_no_kind_is_wrong() -> None:
    index = BruteForce(torch.ones(0, 1))
    check_found(index, torch.ones(1, 1), index.search(torch.ones(1, 1), 1), id_array(["a"]))
