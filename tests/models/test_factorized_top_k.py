"""FactorizedTopK against a reference in plain Python, and what TFRS leaves open."""

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from torchtowers.models.brute_force import BruteForce
from torchtowers.models.factorized_top_k import FactorizedTopK
from torchtowers.models.faiss_index import Faiss
from torchtowers.models.index import Ids, Index, TopK
from torchtowers.models.streaming import Streaming


def figures(metric: FactorizedTopK) -> Tensor:
    return torch.stack(list(metric.compute().values()))


def batches(candidates: Tensor, ids: Any, size: int) -> list[tuple[Any, Tensor]]:
    return [(ids[f : f + size], candidates[f : f + size]) for f in range(0, len(ids), size)]


def streamed(candidates: Tensor, ids: Any) -> Streaming:
    return Streaming(batches(candidates, ids, 1))


def close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dim", [1, 3, 24, 64])
@pytest.mark.parametrize("step", [1, 7, 128])
def test_a_candidate_never_loses_to_its_own_copy(dim: int, step: int) -> None:
    """TFRS gives 0.69 here by score, since it adds up the two scores in different orders."""
    torch.manual_seed(dim)
    unit = torch.nn.functional.normalize(torch.randn(128, dim), dim=1)
    for index in (BruteForce(unit), Streaming(batches(unit, torch.arange(128), 50))):
        for ties in ("optimistic", "pessimistic") if dim > 1 else ("optimistic",):
            metric = FactorizedTopK(index, ks=(1,), ties=ties)
            for first in range(0, 128, step):
                metric.update(unit[first : first + step], unit[first : first + step])
            assert metric.compute() == {"top_1_accuracy": 1.0}


def test_values_of_tfrs_own_tests() -> None:
    queries = torch.tensor([[1.0, 2.0, 3.0], [2.0, 3.0, 4.0]])
    own = torch.tensor([[1.0, 1.0, 1.0], [1.0, 1.0, 0.0]])
    metric = FactorizedTopK(BruteForce(torch.zeros(20, 3)), ks=(5,))
    metric.update(queries, own, sample_weight=torch.tensor([0.7, 0.3]))
    close(figures(metric), torch.ones(1))


small = st.integers(-2, 2).map(float)


@st.composite
def evaluations(draw: st.DrawFn) -> tuple[Tensor, list[int], Tensor, list[int], Tensor]:
    """Candidates on a grid with unique ids, queries, the rows of their own candidates, weights."""
    rows = draw(st.lists(st.tuples(small, small), min_size=1, max_size=9))
    ids = draw(st.permutations(range(len(rows))))
    queries = draw(st.lists(st.tuples(small, small), min_size=1, max_size=5))
    count = len(queries)
    own = draw(st.lists(st.integers(0, len(rows) - 1), min_size=count, max_size=count))
    weights = draw(st.lists(st.integers(1, 3).map(float), min_size=count, max_size=count))
    return torch.tensor(rows), list(ids), torch.tensor(queries), own, torch.tensor(weights)


@pytest.mark.parametrize("ties", ["optimistic", "pessimistic"])
@given(case=evaluations())
def test_figures_equal_the_reference(
    ties: Literal["optimistic", "pessimistic"], case: tuple[Tensor, list[int], Tensor, list[int], Tensor]
) -> None:
    candidates, ids, queries, own, weights = case
    ks = (1, 2, 5)
    scores = queries @ candidates.T
    by_score: list[Any] = []
    by_id: list[Any] = []
    for row, column in zip(scores.tolist(), own, strict=True):
        above = sum(score > row[column] for score in row)
        reached = sum(score >= row[column] for score in row)
        before = sum(score == row[column] for score in row[:column])
        by_score.append(above if ties == "optimistic" else reached - 1)
        by_id.append(above + before if ties == "optimistic" else reached - 1)
    for index in (BruteForce(candidates, ids), Streaming(batches(candidates, ids, 2))):
        for ranks, given_ids in ((by_score, None), (by_id, [ids[row] for row in own])):
            hits = torch.tensor([[float(rank < k) for k in ks] for rank in ranks])
            metric = FactorizedTopK(index, ks=ks, ties=ties)
            metric.update(queries, candidates[own], given_ids, weights[:, None])
            close(figures(metric), weights @ hits / weights.sum())


def test_collapsed_embeddings_hit_or_miss_all() -> None:
    same, ids = torch.ones(20, 3), list(range(20))
    by_score: list[Any] = []
    by_id: list[Any] = []
    for ties in ("optimistic", "pessimistic"):
        for ids_given, results in ((None, by_score), (ids, by_id)):
            metric = FactorizedTopK(BruteForce(same, ids), ks=(1, 5, 20), ties=ties)
            metric.update(same, same, ids_given)
            results.append(figures(metric).tolist())
    assert by_score == [[1, 1, 1], [0, 0, 1]]
    assert by_id == [pytest.approx([0.05, 0.25, 1]), [0, 0, 1]]


def test_a_candidate_need_not_be_in_the_index_by_score() -> None:
    metric = FactorizedTopK(BruteForce(torch.tensor([[1.0], [3.0]])), ks=(1, 2, 3))
    metric.update(torch.ones(1, 1), torch.tensor([[2.0]]))
    assert figures(metric).tolist() == [0, 1, 1]


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_scores_that_are_not_finite_never_hit(value: float) -> None:
    metric = FactorizedTopK(BruteForce(torch.full((3, 2), value), ["a", "b", "c"]), ks=(1, 5))
    queries = torch.ones(1, 2)
    metric.update(queries, torch.full((1, 2), value))
    metric.update(queries, None, ["a"])
    assert figures(metric).tolist() == [0, 0]
    metric = FactorizedTopK(BruteForce(torch.full((3, 2), torch.nan)), ks=(1, 3))
    metric.update(queries, torch.ones(1, 2))
    assert figures(metric).tolist() == [0, 0]


def test_an_id_may_stand_for_several_candidates() -> None:
    metric = FactorizedTopK(BruteForce(torch.tensor([[1.0], [3.0], [2.0]]), ["a", "b", "a"]), ks=(1, 2))
    metric.update(torch.ones(3, 1), None, ["a", "b", "unknown"])
    close(figures(metric), torch.tensor([1 / 3, 2 / 3]))


def test_batches_are_read_once_for_each_evaluation() -> None:
    read = []

    def embed() -> Iterator[tuple[list[str], Tensor]]:
        read.append(1)
        yield ["a"], torch.tensor([[1.0]], requires_grad=True)
        yield ["b"], torch.tensor([[2.0]], requires_grad=True)

    metric = FactorizedTopK(embed, ks=(1,))
    assert not read
    for _ in range(2):
        metric.update(torch.ones(1, 1), None, ["b"])
        assert metric(torch.ones(1, 1), None, ["a"]) == {"top_1_accuracy": 0.0}
        assert metric.compute() == {"top_1_accuracy": 0.5}
        metric.reset()
    assert len(read) == 2


def test_ranks_are_summed() -> None:
    index = BruteForce(torch.tensor([[1.0], [2.0], [3.0]]))
    first, second, whole = (FactorizedTopK(index, ks=(1, 2)) for _ in range(3))
    queries, own = torch.ones(5, 1), torch.tensor([[3.0], [2.0], [1.0], [3.0], [3.0]])
    for metric, part in ((first, slice(0, 2)), (second, slice(2, 5)), (whole, slice(0, 5))):
        metric.update(queries[part], own[part])
    second.merge_state(first)
    close(figures(second), figures(whole))
    gathered = FactorizedTopK(
        index,
        ks=(1, 2),
        dist_sync_fn=lambda state, group: [state, state],
        distributed_available_fn=lambda: True,
    )
    gathered.update(queries, own)
    with gathered.sync_context(dist_sync_fn=gathered.dist_sync_fn, distributed_available=lambda: True):
        assert gathered.weight == 10
        assert gathered.hits.tolist() == [6, 8]


class Placed(BruteForce):
    """An index that remembers where its queries lay; a tensor without data can be asked nothing else."""

    asked: torch.device | None = None

    def places(self, queries: Tensor, ids: Ids) -> tuple[Tensor, Tensor]:
        self.asked = queries.device
        return torch.zeros(len(ids), dtype=torch.int64), torch.zeros(len(ids), dtype=torch.int64)


@pytest.mark.parametrize("source", [lambda rows: BruteForce(rows), lambda rows: [(None, rows)]])
def test_the_index_may_lie_on_another_device(source: Any) -> None:
    metric = FactorizedTopK(source(torch.eye(3)), ks=(1,)).to("meta")
    queries = torch.empty(4, 3, device="meta")
    metric.update(queries, queries)
    assert {metric.hits.device.type, metric.weight.device.type} == {"meta"}
    index = Placed(torch.empty(3, 3, device="meta"))
    elsewhere = FactorizedTopK(index, ks=(1,))
    elsewhere.update(torch.ones(4, 3), None, [0, 1, 2, 0])
    assert index.asked == torch.device("meta")
    assert elsewhere.compute() == {"top_1_accuracy": 1.0}


def test_to_moves_the_counts_and_leaves_the_index() -> None:
    index = BruteForce(torch.ones(3, 2))
    metric = FactorizedTopK(index).to("meta")
    assert metric.hits.is_meta
    assert metric.index is index
    assert not index.candidates.is_meta
    assert FactorizedTopK(index.to("meta")).index.candidates.is_meta  # type: ignore[attr-defined]


def test_candidates_may_be_embeddings_alone() -> None:
    """TFRS takes a dataset of them."""
    rows = torch.tensor([[1.0], [3.0], [2.0]])
    parts = [rows[:2], rows[2:]]
    for candidates in (rows, torch.nn.Parameter(rows), parts, lambda: iter(parts)):
        for own in ((None, [1, 2]), (rows[1:], None)):
            metric = FactorizedTopK(candidates, ks=(1, 2))
            metric.update(torch.ones(2, 1), *own)
            assert figures(metric).tolist() == [0.5, 1.0]
    with pytest.raises(ValueError, match=r"\[candidates, dim\], got \[3\]"):
        FactorizedTopK(rows[:, 0])
    with pytest.raises(TypeError, match="got a list of list, list"):
        FactorizedTopK([[[1.0], [2.0]]]).update(rows, rows)  # type: ignore[list-item]


@pytest.mark.parametrize("names", [["1", "2"], ["1", "1"]])
@pytest.mark.parametrize(
    "make", [lambda rows, ids: BruteForce(rows, ids), lambda rows, ids: [(ids, rows)], Faiss, streamed]
)
def test_ids_of_another_kind_are_refused_and_not_counted_as_misses(make: Any, names: list[str]) -> None:
    if make is Faiss and names[0] == names[1]:
        names = ["1", "3"]
    metric = FactorizedTopK(make(torch.eye(2), names), ks=(1,))
    for wrong in (torch.tensor([1, 2]), [b"1", b"2"]):
        with pytest.raises(TypeError, match=r"the candidates' ids are text, got (numbers|bytes) such as"):
            metric.update(torch.eye(2), None, wrong)
    metric.update(torch.eye(2), None, names)
    assert metric.weight == 2


@pytest.mark.parametrize("ids", [["a", "b"], ["a", "a"]])
def test_an_unknown_id_is_no_hit_where_k_is_beyond_all(ids: list[str]) -> None:
    metric = FactorizedTopK(BruteForce(torch.tensor([[1.0], [2.0]]), ids), ks=(1, 5))
    metric.update(torch.ones(1, 1), None, ["c"])
    assert figures(metric).tolist() == [0, 0]


def test_half_precision_is_measured_alike() -> None:
    torch.manual_seed(0)
    candidates = torch.randn(30, 16).bfloat16()
    queries, own = torch.randn(20, 16).bfloat16(), candidates[:20]
    for ids in (None, list(range(20))):
        half, whole = FactorizedTopK(BruteForce(candidates)), FactorizedTopK(BruteForce(candidates.float()))
        half.update(queries, own, ids)
        whole.update(queries.float(), own.float(), ids)
        close(figures(half), figures(whole))
        assert 0 < figures(half)[1] < 1
        mixed = FactorizedTopK(BruteForce(candidates.float()))
        mixed.update(queries, own, ids)
        close(figures(mixed), figures(whole))


def test_nothing_is_kept_for_gradients() -> None:
    queries = torch.ones(2, 2, requires_grad=True)
    metric = FactorizedTopK([(["a"], torch.ones(1, 2, requires_grad=True))], ks=(1,))
    assert metric(queries, queries) == metric(queries, None, ["a", "a"]) == {"top_1_accuracy": 1.0}
    assert not metric.hits.requires_grad
    assert metric.clone().compute() == {"top_1_accuracy": 1.0}


class Approximate:
    """An index that never finds the first candidate."""

    is_exact = False

    def __init__(self, index: Index) -> None:
        self.index = index

    def search(
        self,
        queries: Tensor,
        k: int,
        exclude: Sequence[Ids] | None = None,
        include: Sequence[Ids | None] | None = None,
    ) -> TopK:
        return self.index.search(queries, k, [["a"]] * len(queries))


def test_an_index_that_is_not_exact_is_measured_by_id_only() -> None:
    index = Approximate(BruteForce(torch.tensor([[3.0], [2.0]]), ["a", "b"]))
    metric = FactorizedTopK(index, ks=(1, 2))
    metric.update(torch.ones(2, 1), None, np.array(["a", "b"]))
    assert figures(metric).tolist() == [0.5, 0.5]
    with pytest.raises(ValueError, match="Approximate is not exact"):
        metric.update(torch.ones(1, 1), torch.ones(1, 1))


def test_what_does_not_fit_is_refused() -> None:
    index = BruteForce(torch.ones(3, 2))
    for ks in ((), (0, 1), (2, 2)):
        with pytest.raises(ValueError, match="different numbers of at least 1"):
            FactorizedTopK(index, ks=ks)
    with pytest.raises(ValueError, match="optimistic or pessimistic, got 'random'"):
        FactorizedTopK(index, ties="random")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="read only once"):
        FactorizedTopK(iter([(None, torch.ones(3, 2))]))
    queries = torch.ones(2, 2)
    nothing: list[tuple[Ids, Tensor]] = []
    for empty in (nothing, Streaming(nothing)):
        with pytest.raises(ValueError, match="no candidates"):
            FactorizedTopK(empty).update(queries, None, [1, 2])
    metric = FactorizedTopK(index)
    with pytest.raises(ValueError, match="give true_candidate_embeddings or true_candidate_ids"):
        metric.update(queries)
    with pytest.raises(ValueError, match=r"\[2, 2\] and their candidates \[3, 2\]"):
        metric.update(queries, torch.ones(3, 2))
    with pytest.raises(ValueError, match="2 queries and 1 ids"):
        metric.update(queries, None, [1])
    with pytest.raises(ValueError, match=r"sample_weight has to be \[2\], got \[3\]"):
        metric.update(queries, queries, sample_weight=torch.ones(3))
