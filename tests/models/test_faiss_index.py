"""The approximate index: what it promises exactly, and its recall against the exact index."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.models.test_brute_force import all_excluded, inclusions, reference, searches
from torchtowers.models.brute_force import BruteForce
from torchtowers.models.faiss_index import Faiss
from torchtowers.models.index import ExactIndex, Index


def clustered(count: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(40, 16, generator=generator)
    own = torch.randint(40, (count,), generator=generator)
    return centres[own] + 0.2 * torch.randn(count, 16, generator=generator)


@settings(deadline=None)
@given(searches(), st.integers(1, 4), st.data())
def test_exclusions_and_inclusions_are_true_however_few_lists_are_read(
    case: tuple[Tensor, list[Any], Tensor, int, list[list[Any]]], lists: int, data: st.DataObject
) -> None:
    candidates, ids, queries, k, exclude = case
    names = ids
    if len(set(ids)) < len(ids):
        names = list(range(len(ids)))
        exclude = [[name for name in own if type(name) is int] for own in exclude]
    index = Faiss(candidates, names, lists=min(lists, len(names)), probes=1)
    found = index.search(queries, k, exclude)
    every = reference(candidates, names, queries, len(names), exclude)
    for pairs, allowed in zip(found.pairs(), every, strict=True):
        assert len(pairs) == min(k, len(allowed)), "it reads on until there are enough"
        assert dict(pairs).items() <= dict(allowed).items()
        assert [score for _, score in pairs] == sorted((score for _, score in pairs), reverse=True)
    include = data.draw(inclusions(names, len(queries)))
    index.probes = index.lists
    found = index.search(queries, k, exclude, include)
    exact = BruteForce(candidates, names).search(queries, k, exclude, include)
    assert found.scores.tolist() == exact.scores.tolist()
    every = reference(candidates, names, queries, len(names), all_excluded(names, exclude, include))
    for pairs, allowed in zip(found.pairs(), every, strict=True):
        assert dict(pairs).items() <= dict(allowed).items()


def test_recall_is_that_against_the_exact_index() -> None:
    candidates = clustered(4000)
    queries = candidates[:50] + 0.1
    index = Faiss(candidates, lists=40, probes=1, sample_queries=queries, k=100)
    found, true = index.search(queries, 100), BruteForce(candidates).search(queries, 100)
    hits = [
        len({*one} & {*other}) / 100 for one, other in zip(found.ids.tolist(), true.ids.tolist(), strict=True)
    ]
    assert index.recall.value == pytest.approx(np.mean(hits))
    assert (index.recall.k, index.recall.queries) == (100, 50)
    assert 0.1 < index.recall.value < 1
    low = index.recall.value
    index.probes = 3
    assert index.recall.value > low
    index.probes = 1000
    assert index.probes == index.lists == 40
    assert index.recall.value == 1


def test_probes_are_raised_until_the_recall_is_reached() -> None:
    candidates = clustered(4000)
    start = Faiss(candidates, lists=40, probes=1).recall.value
    index = Faiss(candidates, lists=40, probes=1, min_recall=0.97)
    assert start < 0.97 <= index.recall.value
    assert 1 < index.probes < 40


def test_recall_is_measured_anew_after_a_change() -> None:
    index = Faiss(clustered(2000), lists=20, probes=1)
    before = index.recall
    # What is nearest to no list's middle is missed more often.
    index.add(torch.randn(2000, 16, generator=torch.Generator().manual_seed(1)), list(range(2000, 4000)))
    assert index.recall.value != before.value
    assert index.recall.queries == 256


def test_lists_and_probes_follow_the_size() -> None:
    assert Faiss(torch.randn(30, 4)).lists == 1
    index = Faiss(torch.randn(8000, 4))
    assert index.lists == 89
    assert index.probes == 8


def test_the_same_seed_gives_the_same_index() -> None:
    candidates = clustered(2000)
    one, other = (Faiss(candidates, lists=30, probes=2, seed=5) for _ in range(2))
    assert one.recall == other.recall
    assert (one.search(candidates[:20], 10).ids == other.search(candidates[:20], 10).ids).all()


def test_it_is_an_index_and_not_exact() -> None:
    index = Faiss(torch.ones(2, 2))
    assert isinstance(index, Index)
    assert not isinstance(index, ExactIndex)
    assert not index.is_exact


def test_a_query_that_is_not_finite_gets_nothing() -> None:
    index = Faiss(torch.eye(3), ["a", "b", "c"], lists=2, probes=1)
    queries = torch.tensor([[torch.nan, 0, 0], [0, 1, 0]])
    found = index.search(queries, 1)
    assert found.pairs() == [[], [("b", 1.0)]]
    assert index.search(torch.empty(0, 3), 2).pairs() == []
    index.remove(["a", "b", "c"])
    assert index.search(queries, 2).pairs() == [[], []]
    assert index.recall.value == 1


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_queries_may_be_of_any_type_and_scores_are_whole(dtype: torch.dtype) -> None:
    found = Faiss(400 * torch.eye(2)).search(400 * torch.eye(2, dtype=dtype), 1)
    assert found.scores.dtype == torch.float32
    assert found.pairs() == [[(0, 160000.0)], [(1, 160000.0)]], "more than float16 has"


def test_sample_queries_are_the_index_s_own() -> None:
    queries = clustered(20) + 1
    index = Faiss(clustered(2000), lists=40, probes=1, sample_queries=queries)
    before = index.recall
    assert 0 < before.value < 1
    queries.zero_()
    index.probes = 1
    assert index.recall == before


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lists": 4}, "between 1 and the 3 candidates, got 4"),
        ({"lists": 0}, "between 1 and the 3 candidates, got 0"),
        ({"probes": 0}, "probes has to be at least 1, got 0"),
        ({"min_recall": 1.5}, "between 0 and 1, got 1.5"),
        ({"ids": ["a", "b", "a"]}, "'a' are given twice"),
        ({"ids": ["a"]}, "3 candidates and 1 ids"),
        ({"sample_queries": torch.ones(1, 3)}, r"\[queries, 2\], got \[1, 3\]"),
        ({"sample_queries": torch.ones(0, 2)}, "sample queries, got none: leave them out"),
        ({"k": 0}, "k has to be at least 1, got 0"),
        ({"candidates": torch.tensor([[torch.nan]])}, "have to be finite"),
        ({"candidates": torch.empty(0, 2)}, "got none: use BruteForce"),
        ({"candidates": torch.ones(3)}, r"\[candidates, dim\], got \[3\]"),
    ],
)
def test_what_does_not_fit_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Faiss(**{"candidates": torch.ones(3, 2), **settings})


def test_without_faiss_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "faiss", None)
    with pytest.raises(ImportError, match=r"pip install 'torchtowers\[faiss\]'"):
        Faiss(torch.ones(3, 2))


def test_ids_of_another_kind_are_refused() -> None:
    index, query = Faiss(torch.eye(3), ["1", "2", "3"]), torch.ones(1, 3)
    for lists in ([[1]], None), (None, [[1]]):
        with pytest.raises(TypeError, match="are text, got numbers such as 1"):
            index.search(query, 1, *lists)
    with pytest.raises(TypeError, match="are text, got numbers such as 1"):
        index.update(query, [1])
    with pytest.raises(TypeError, match="are text, got numbers such as 1"):
        index.remove([1])
    assert sorted(index.search(query, 3, [[]], [None]).ids[0].tolist()) == ["1", "2", "3"]
