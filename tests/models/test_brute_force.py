"""The index in memory against a reference in plain Python, and against TFRS 0.7.7."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tests.models.differences import different
from tests.models.golden import cases, load
from torchtowers.models.brute_force import BruteForce
from torchtowers.models.index import ExactIndex, Index, TopK
from torchtowers.models.streaming import Streaming

# What TFRS does and we don't, with what stands in its place below.
DIFFERENT = set(different("topk_"))
RAISING_TOO = "topk_index_shape_raises"
QUERY_MODEL = "topk_bruteforce_query_model"
SEARCHES = sorted(set(cases("topk_")) - DIFFERENT - {RAISING_TOO, QUERY_MODEL})


def made(name: str, candidates: Tensor, ids: Any, batch: int | None) -> Index:
    if "bruteforce" in name:
        return BruteForce(candidates, ids)
    step = batch or len(candidates)
    firsts = range(0, len(candidates), step)
    return Streaming([(None if ids is None else ids[f : f + step], candidates[f : f + step]) for f in firsts])


def assert_found(found: TopK, scores: Tensor, ids: Any) -> None:
    torch.testing.assert_close(found.scores, scores, rtol=1e-5, atol=1e-5)
    assert found.ids.tolist() == ids.tolist()


def test_every_golden_case_is_run_or_named() -> None:
    assert set(cases("topk_")) > DIFFERENT
    assert len(SEARCHES) == 13


@pytest.mark.parametrize("name", SEARCHES)
def test_answers_are_those_of_tfrs(name: str) -> None:
    case = load(name)
    given, out, k = case.inputs, case.outputs, case.config["k"]
    index = made(name, given["candidates"], given.get("identifiers"), case.config.get("candidate_batch"))
    queries = given["queries"]
    assert_found(index.search(queries, k), out["scores"], out["ids"])
    if "scores_all" in out:
        every = len(given["candidates"])
        assert_found(index.search(queries, every), out["scores_all"], out["ids_all"])
        exclude = given["exclusions"]
        assert_found(index.search(queries, k, exclude), out["ex_scores"], out["ex_ids"])
        assert_found(index.search(queries, 3, exclude), out["ex3_scores"], out["ex3_ids"])


def test_a_query_model_is_called_by_the_caller() -> None:
    case = load(QUERY_MODEL)
    queries = case.params["embedding"][case.inputs["queries"]]
    found = BruteForce(case.inputs["candidates"]).search(queries, case.config["k"])
    assert_found(found, case.outputs["scores"], case.outputs["ids"])


def test_as_many_ids_as_candidates_are_needed() -> None:
    raised = load(RAISING_TOO).raises
    assert raised is not None
    assert raised[0] == "ValueError"
    with pytest.raises(ValueError, match="5 candidates and 4 ids"):
        BruteForce(torch.zeros(5, 3), [1, 2, 3, 4])


@pytest.mark.parametrize("kind", ["bruteforce", "streaming"])
class TestInsteadOfTfrs:
    def test_excluded_items_stay_away_when_candidates_run_out(self, kind: str) -> None:
        case = load("topk_exclusions_exhausted_returns_excluded")
        candidates, queries = case.inputs["candidates"], case.inputs["queries"]
        found = made(kind, candidates, None, 2).search(queries, 3, case.inputs["exclusions"])
        assert found.ids.tolist() == [[4, -1, -1], [0, -1, -1]]
        torch.testing.assert_close(found.scores[:, 0], case.outputs["scores"][:, 0])
        assert found.scores[:, 1:].isneginf().all()
        assert [[identifier for identifier, _ in row] for row in found.pairs()] == [[4], [0]]

    def test_excluded_items_stay_away_at_large_scores(self, kind: str) -> None:
        case = load("topk_exclusions_large_scores")
        excluded = case.inputs["exclusions"]
        assert (case.outputs["ids"][:, :1] == excluded).all(), "TFRS gives them back"
        found = made(kind, case.inputs["candidates"], None, 2).search(case.inputs["queries"], 2, excluded)
        assert found.ids.tolist() == [[3, 0], [0, 1]]

    def test_more_than_there_are_gives_all(self, kind: str) -> None:
        found = made(kind, torch.arange(5.0)[:, None], None, 2).search(torch.ones(2, 1), 10)
        assert found.ids.tolist() == [[4, 3, 2, 1, 0]] * 2

    def test_k_and_exclusions_may_exceed_the_candidates(self, kind: str) -> None:
        index = made(kind, torch.arange(5.0)[:, None], None, 2)
        found = index.search(torch.ones(1, 1), 4, [[4, 1, 0]])
        assert found.pairs() == [[(3, 3.0), (2, 2.0)]]

    def test_batches_may_be_smaller_than_k_and_the_index_temporary(self, kind: str) -> None:
        found = made(kind, torch.arange(4.0)[:, None], None, 3).search(torch.ones(1, 1), 3, [[0]])
        assert found.ids.tolist() == [[3, 2, 1]]


small = st.integers(-2, 2).map(float)


@st.composite
def searches(draw: st.DrawFn) -> tuple[Tensor, list[Any], Tensor, int, list[list[Any]]]:
    """Candidates on a coarse grid, so with many ties, and ragged exclusions; ids may occur twice."""
    count = draw(st.integers(1, 12))
    candidates = draw(st.lists(st.tuples(small, small), min_size=count, max_size=count))
    queries = draw(st.lists(st.tuples(small, small), max_size=4))
    numbers, texts = st.integers(-3, 9), st.sampled_from(["a", "b", "ä", ""])
    ids = draw(st.lists(numbers | texts, min_size=count, max_size=count))
    # Some of them unknown, but none of a kind that no candidate has, which is refused.
    kinds = set(map(type, ids))
    known = st.one_of(*(names for names, kind in ((numbers, int), (texts, str)) if kind in kinds))
    exclude = draw(st.lists(st.lists(known, max_size=5), min_size=len(queries), max_size=len(queries)))
    rows = torch.tensor(queries).reshape(-1, 2)
    return torch.tensor(candidates), ids, rows, draw(st.integers(1, 15)), exclude


def reference(
    candidates: Tensor, ids: list[Any], queries: Tensor, k: int, exclude: list[list[Any]]
) -> list[list[tuple[Any, float]]]:
    answers = []
    for query, excluded in zip(queries, exclude, strict=True):
        scores = (candidates @ query).tolist()
        order = sorted(range(len(scores)), key=lambda row: (-scores[row], row))
        answers.append([(ids[row], scores[row]) for row in order if ids[row] not in excluded][:k])
    return answers


@given(searches())
def test_index_equals_the_reference(case: tuple[Tensor, list[Any], Tensor, int, list[list[Any]]]) -> None:
    candidates, ids, queries, k, exclude = case
    index = BruteForce(candidates, ids)
    assert index.search(queries, k, exclude).pairs() == reference(*case)
    nothing: list[list[Any]] = [[] for _ in queries]
    assert index.search(queries, k).pairs() == reference(candidates, ids, queries, k, nothing)


@given(searches())
def test_places_are_those_of_search(case: tuple[Tensor, list[Any], Tensor, int, list[list[Any]]]) -> None:
    candidates, _, queries, _, _ = case
    index = BruteForce(candidates)
    for row in range(len(candidates)):
        place, last = index.places(queries, [row] * len(queries))
        for position, pairs in enumerate(index.search(queries, len(candidates)).pairs()):
            assert pairs[place[position]][0] == row
            own = pairs[place[position]][1]
            assert last[position] == max(at for at, (_, score) in enumerate(pairs) if score == own)


def test_places_of_what_is_never_found() -> None:
    index = BruteForce(torch.tensor([[1.0], [torch.nan]]), ["a", "b"])
    place, last = index.places(torch.ones(3, 1), ["a", "b", "c"])
    assert place.tolist() == last.tolist() == [0, 2, 2]
    with pytest.raises(ValueError, match="3 queries and 1 ids"):
        index.places(torch.ones(3, 1), ["a"])
    with pytest.raises(ValueError, match="share an id"):
        BruteForce(torch.ones(2, 1), ["a", "a"]).places(torch.ones(1, 1), ["a"])


def inclusions(ids: list[Any], queries: int) -> st.SearchStrategy[list[list[Any] | None]]:
    lists = st.none() | st.lists(st.sampled_from(ids) | st.just(("unknown",)), max_size=6)
    return st.lists(lists, min_size=queries, max_size=queries)


def all_excluded(
    ids: list[Any], exclude: list[list[Any]], include: list[list[Any] | None]
) -> list[list[Any]]:
    """Say by exclusion what the inclusion lists leave out."""
    return [
        excluded + [name for name in ids if own is not None and name not in own]
        for excluded, own in zip(exclude, include, strict=True)
    ]


@given(searches(), st.data())
def test_only_what_is_included_comes_back(
    case: tuple[Tensor, list[Any], Tensor, int, list[list[Any]]], data: st.DataObject
) -> None:
    candidates, ids, queries, k, exclude = case
    include = data.draw(inclusions(ids, len(queries)))
    found = BruteForce(candidates, ids).search(queries, k, exclude, include)
    assert found.pairs() == reference(candidates, ids, queries, k, all_excluded(ids, exclude, include))
    assert found.scores.shape == (len(queries), min(k, len(ids)))


def test_few_included_of_many_are_found() -> None:
    candidates, queries = torch.arange(100.0)[:, None], torch.tensor([[1.0], [-1.0]])
    found = BruteForce(candidates).search(queries, 3, [[50], []], [[3, 50, 7], [50, 9]])
    assert found.pairs() == [[(7, 7.0), (3, 3.0)], [(9, -9.0), (50, -50.0)]]
    assert found.scores.shape == (2, 3)


def test_ids_that_are_excluded_and_included_stay_away_from_tensors_on_their_device() -> None:
    index = BruteForce(torch.tensor([[2.0], [1.0]]), ["a", "b"]).to("cpu")
    assert index.to(torch.device("cpu")) is index
    assert index.search(torch.ones(1, 1), 2, [["a"]], [["a", "b"]]).pairs() == [[("b", 1.0)]]
    moved = index.to("meta")
    assert moved is not index
    assert moved.candidates.is_meta
    assert moved.ids.tolist() == ["a", "b"]


def test_ids_keep_their_type() -> None:
    candidates, query = torch.tensor([[2.0], [1.0]]), torch.ones(1, 1)
    for ids in (["x", "y"], [("x", 1), None], [b"x", b"y"], [1.5, 2.5], [2**70, 1]):
        found = BruteForce(candidates, ids).search(query, 2)
        assert found.ids.dtype == object
        assert found.ids.tolist() == [ids]
    for numbers in ([7, -1], np.array([7, -1], dtype=np.int32), torch.tensor([7, -1])):
        found = BruteForce(candidates, numbers).search(query, 2)
        assert found.ids.dtype == np.int64
        assert found.pairs() == [[(7, 2.0), (-1, 1.0)]]


@pytest.mark.parametrize(
    "exclude",
    [[[7]], torch.tensor([[7]]), [np.array([7])], [[torch.tensor(7)]], [[np.int32(7), 99, ("no",)]]],
)
def test_exclusions_may_be_arrays(exclude: Any) -> None:
    found = BruteForce(torch.tensor([[2.0], [1.0]]), [7, 8]).search(torch.ones(1, 1), 2, exclude)
    assert found.pairs() == [[(8, 1.0)]]


def test_scores_that_are_not_finite_never_come_back() -> None:
    candidates = torch.tensor([[torch.nan], [1.0], [torch.inf], [2.0], [-torch.inf]])
    assert BruteForce(candidates).search(torch.ones(1, 1), 2).pairs() == [[(3, 2.0), (1, 1.0)]]
    assert BruteForce(candidates).search(torch.full((1, 1), torch.nan), 2).pairs() == [[]]


def test_no_candidates_and_no_queries_give_empty_answers() -> None:
    assert BruteForce(torch.empty(0, 2)).search(torch.ones(1, 2), 3).pairs() == [[]]
    assert BruteForce(torch.ones(3, 2)).search(torch.empty(0, 2), 3).pairs() == []


def test_what_does_not_fit_is_refused() -> None:
    index = BruteForce(torch.ones(3, 2), ["a", "b", "c"])
    with pytest.raises(ValueError, match=r"\[queries, 2\], got \[1, 3\]"):
        index.search(torch.ones(1, 3), 1)
    with pytest.raises(ValueError, match="at least 1, got 0"):
        index.search(torch.ones(1, 2), 0)
    with pytest.raises(ValueError, match="1 queries and 2 lists"):
        index.search(torch.ones(1, 2), 1, [[], []])
    with pytest.raises(TypeError, match=r"write \['ab'\]"):
        index.search(torch.ones(1, 2), 1, ["ab"])
    with pytest.raises(ValueError, match=r"\[candidates, dim\], got \[3\]"):
        BruteForce(torch.ones(3))
    with pytest.raises(ValueError, match="one-dimensional"):
        BruteForce(torch.ones(3, 2), torch.ones(3, 1))


def test_ids_of_another_kind_are_refused(tmp_path: Path) -> None:
    """They would exclude nothing and find nothing, as integers do among ids that a file gave as text."""
    index, query = BruteForce(torch.ones(3, 2), ["1", "2", "3"]), torch.ones(1, 2)
    index.save(tmp_path / "index")
    for each in (index, BruteForce.load(tmp_path / "index")):
        for lists in ([[1]], None), (None, [[1]]), (None, [torch.tensor([1])]):
            with pytest.raises(TypeError, match="are text, got numbers such as 1"):
                each.search(query, 1, *lists)
        with pytest.raises(TypeError, match="are text, got numbers such as 1"):
            each.places(query, torch.tensor([1]))
        with pytest.raises(TypeError, match="are text, got numbers such as 1"):
            each.update(query, [1])
        with pytest.raises(TypeError, match="are text, got numbers such as 1"):
            each.remove([1])
        assert each.search(query, 3, [[]], [None]).ids.tolist() == [["1", "2", "3"]]
    assert BruteForce(torch.empty(0, 2)).search(query, 1, [["a"]]).pairs() == [[]]


@pytest.mark.parametrize("kind", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("other", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_queries_and_candidates_may_be_of_different_types(kind: torch.dtype, other: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    queries = torch.randn(9, 16, generator=generator).to(kind)
    candidates = torch.randn(2000, 16, generator=generator).to(other)
    expected = (queries.double() @ candidates.double().T).topk(20)
    index = BruteForce(candidates)
    found = index.search(queries, 20)
    assert found.scores.dtype == (torch.float64 if torch.float64 in (kind, other) else torch.float32)
    assert found.ids.tolist() == expected.indices.tolist(), "half precision would have made ties"
    torch.testing.assert_close(found.scores.double(), expected.values, rtol=1e-5, atol=1e-5)
    for place in (0, 19):
        places, _ = index.places(queries, expected.indices[:, place])
        assert places.tolist() == [place] * 9


def test_places_among_half_precision_scores_are_exact_beyond_256() -> None:
    index = BruteForce(torch.ones(700, 1).bfloat16())
    place, last = index.places(torch.ones(1, 1).bfloat16(), [600])
    assert (place.tolist(), last.tolist()) == ([600], [699])


def test_index_takes_no_part_in_gradients() -> None:
    candidates = torch.ones(3, 2, requires_grad=True)
    assert not BruteForce(candidates).search(torch.ones(1, 2, requires_grad=True), 1).scores.requires_grad


def test_it_is_exact_and_can_be_read_through() -> None:
    index = BruteForce(torch.arange(3.0)[:, None], ["a", "b", "c"])
    assert isinstance(index, ExactIndex)
    assert index.is_exact
    assert len(index) == 3
    assert [(ids.tolist(), rows.tolist()) for ids, rows in index.blocks()] == [
        (["a", "b", "c"], [[0.0], [1.0], [2.0]])
    ]


def test_answers_are_those_of_keras_rs() -> None:
    case = load("krs_brute_force_retrieval")
    found = BruteForce(case.inputs["candidates"]).search(case.inputs["queries"], case.config["k"])
    assert_found(found, case.outputs["scores"], case.outputs["ids"])
