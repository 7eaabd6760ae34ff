"""Ranking metrics against Keras-RS 0.4.0 itself, against values worked out by hand, and their promises."""

import math
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, distributed, multiprocessing

from tests.models import golden
from torchtowers.models import ranking_metrics
from torchtowers.models.ranked_lists import RankedLists, average_precision, dcg, ndcg, rank_lists
from torchtowers.models.ranking_metrics import (
    DCG,
    NDCG,
    MeanAveragePrecision,
    MeanReciprocalRank,
    PrecisionAtK,
    RankingMetric,
    RecallAtK,
)

CLASSES: list[type[RankingMetric]] = [
    DCG,
    NDCG,
    MeanAveragePrecision,
    MeanReciprocalRank,
    PrecisionAtK,
    RecallAtK,
]
CASES = golden.cases(*(f"krs_{metric.__name__}_" for metric in CLASSES))
any_metric = pytest.mark.parametrize("metric", CLASSES)

# Lists without relevance weigh the average of the others. Keras-RS takes the average of each batch, so its
# result changes with the batches that the same lists come in (`result_two_updates`). Ours is that of one
# batch, however they come.
BATCHES_CHANGE_KERAS_RS = {
    "krs_MeanAveragePrecision_kNone_sw1",
    "krs_MeanReciprocalRank_kNone_sw2",
    "krs_PrecisionAtK_k3_sw2",
}

GRADED = torch.tensor([[0, 0, 1, 0], [1, 0, 3, 2], [0, 0, 0, 0], [2, 1, 0, 0]])
GRADED_SCORES = torch.tensor(
    [[0.1, 0.2, 0.9, 0.3], [0.1, 0.8, 0.9, 0.7], [0.4, 0.3, 0.2, 0.1], [0.9, 0.7, 0.1, 0.2]]
)
PRECISION_SCORES = torch.tensor(
    [[0.1, 0.2, 0.9, 0.3], [0.8, 0.7, 0.1, 0.2], [0.4, 0.3, 0.2, 0.1], [0.9, 0.2, 0.1, 0.3]]
)
MAP = torch.tensor([[0, 0, 1, 0], [0, 3, 4, 0], [0, 0, 0, 0], [1, 0, 2, 0]])
MRR = torch.tensor([[0, 0, 1, 0], [0, 3, 0, 0], [0, 0, 0, 0], [1, 0, 2, 0]])
MRR_SCORES = torch.tensor(
    [[0.1, 0.2, 0.9, 0.3], [0.8, 0.7, 0.1, 0.2], [0.4, 0.3, 0.2, 0.1], [0.9, 0.2, 0.8, 0.3]]
)
BINARY = torch.tensor([[0, 0, 1, 0], [0, 1, 1, 1], [0, 0, 0, 0], [1, 0, 1, 0]])
LIST_WEIGHTS = torch.tensor([1, 0.5, 2, 1])


def close(actual: Tensor, expected: Any) -> None:
    expected = torch.as_tensor(expected, dtype=torch.float32)
    torch.testing.assert_close(actual.float(), expected, rtol=1e-5, atol=1e-5)


def result(metric: RankingMetric, *batches: tuple[Any, ...]) -> Tensor:
    for batch in batches:
        metric.update(*batch)
    value: Tensor = metric.compute()
    return value


def rows(batch: tuple[Any, ...], which: slice) -> tuple[Any, ...]:
    return tuple(None if part is None else part[which] for part in batch)


def golden_batch(case: golden.Case) -> tuple[Any, ...]:
    given = case.inputs
    return given["y_pred"], given["y_true"], given.get("mask"), given.get("sample_weight")


def golden_metric(name: str, case: golden.Case) -> RankingMetric:
    metric: RankingMetric = getattr(ranking_metrics, name.split("_")[1])(case.config["k"])
    return metric


def test_cases_are_there() -> None:
    assert len(CASES) == 72
    assert set(CASES) >= BATCHES_CHANGE_KERAS_RS


@pytest.mark.parametrize("name", CASES)
def test_result_is_that_of_keras_rs(name: str) -> None:
    case = golden.load(name)
    batch = golden_batch(case)
    close(result(golden_metric(name, case), batch), case.outputs["result"])
    unweighted = (*batch[:3], None)
    lists = [result(golden_metric(name, case), rows(unweighted, slice(i, i + 1))) for i in range(4)]
    close(torch.stack(lists), case.outputs["per_list_unweighted"])


@pytest.mark.parametrize("name", CASES)
def test_two_updates_give_the_result_of_one(name: str) -> None:
    case = golden.load(name)
    batch = golden_batch(case)
    halves = rows(batch, slice(0, 2)), rows(batch, slice(2, 4))
    close(result(golden_metric(name, case), *halves), case.outputs["result"])
    as_keras_rs = torch.allclose(case.outputs["result"], case.outputs["result_two_updates"], atol=1e-5)
    assert as_keras_rs == (name not in BATCHES_CHANGE_KERAS_RS)


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        (DCG, [2.75, 2.90773, 3.28273, 3.39040]),
        (NDCG, [0.75, 0.696789, 0.72623, 0.7377]),
    ],
)
def test_graded_metrics_worked_out_by_hand(metric: type[RankingMetric], expected: list[float]) -> None:
    for k, value in enumerate(expected, start=1):
        close(result(metric(k), (GRADED_SCORES, GRADED)), value)
    close(result(metric(), (GRADED_SCORES, GRADED)), expected[-1])


@pytest.mark.parametrize(
    ("metric", "scores", "labels", "expected"),
    [
        (MeanAveragePrecision, PRECISION_SCORES, MAP, [0.375, 0.4375, 0.4375, 0.5625]),
        (MeanReciprocalRank, MRR_SCORES, MRR, [0.5, 0.625, 0.625, 0.625]),
        (PrecisionAtK, PRECISION_SCORES, BINARY, [0.5, 0.375, 1 / 3, 0.375]),
        (RecallAtK, PRECISION_SCORES, BINARY, [0.375, 0.4583333, 0.5416667, 0.75]),
    ],
)
def test_binary_metrics_worked_out_by_hand(
    metric: type[RankingMetric], scores: Tensor, labels: Tensor, expected: list[float]
) -> None:
    for k, value in enumerate(expected, start=1):
        close(result(metric(k), (scores, labels)), value)
    close(result(metric(), (scores, labels)), expected[-1])
    close(result(metric(100), (scores, labels)), expected[-1])


def test_weights_worked_out_by_hand() -> None:
    close(result(DCG(), (GRADED_SCORES, GRADED, None, LIST_WEIGHTS)), 2.728879)
    close(result(NDCG(), (GRADED_SCORES, GRADED, None, LIST_WEIGHTS)), 0.742618)
    close(result(MeanAveragePrecision(), (PRECISION_SCORES, MAP, None, LIST_WEIGHTS)), 0.6)
    close(result(MeanReciprocalRank(), (MRR_SCORES, MRR, None, LIST_WEIGHTS)), 0.675)
    items = torch.tensor([2.0, 1.0, 3.0, 0.0])
    close(result(DCG(), (GRADED_SCORES[1], GRADED[1], None, items)), 7.652174)
    close(result(NDCG(), (GRADED_SCORES[1], GRADED[1], None, items)), 0.988237)
    close(result(DCG(), (GRADED_SCORES[1], GRADED[1], None, torch.tensor(5.0))), 7 + 3 / 2 + 1 / math.log2(5))


def test_gain_and_discount_can_be_given() -> None:
    metric = DCG(gain_fn=torch.sqrt, rank_discount_fn=torch.reciprocal)
    close(result(metric, (torch.tensor([0.2, 0.9]), torch.tensor([9, 4]))), 2 + 3 / 2)
    best = NDCG(gain_fn=torch.sqrt, rank_discount_fn=torch.reciprocal)
    close(result(best, (torch.tensor([0.2, 0.9]), torch.tensor([9, 4]))), 3.5 / (3 + 2 / 2))


def test_equal_scores_keep_the_order_that_the_items_came_in() -> None:
    labels = torch.tensor([0, 1, 0, 0])
    for _ in range(20):
        close(result(MeanReciprocalRank(), (torch.zeros(4), labels)), 0.5)
    assert rank_lists(torch.zeros(100), torch.ones(100)).order[0].tolist() == list(range(100))


def test_scores_that_are_no_numbers_rank_last() -> None:
    scores = torch.tensor([float("nan"), 0.0, float("-inf"), float("inf")])
    assert rank_lists(scores, torch.ones(4)).order.tolist() == [[3, 1, 0, 2]]
    ignored_first = torch.tensor([-1, 1, 1, 1])
    assert rank_lists(torch.full((4,), float("-inf")), ignored_first).order.tolist() == [[1, 2, 3, 0]]


@any_metric
def test_nothing_relevant_and_nothing_at_all_are_zero(metric: type[RankingMetric]) -> None:
    assert float(result(metric(), (torch.rand(2, 3), torch.zeros(2, 3)))) == 0
    assert float(result(metric(), (torch.rand(2, 3), torch.ones(2, 3), None, torch.zeros(2)))) == 0
    assert float(result(metric(), (torch.rand(2, 3), torch.full((2, 3), -1)))) == 0
    assert float(result(metric(), (torch.empty(0, 3), torch.empty(0, 3)))) == 0
    assert float(result(metric(), (torch.empty(2, 0), torch.empty(2, 0)))) == 0


def test_lists_without_weight_are_left_out() -> None:
    weights = torch.tensor([1.0, 0.0, 0.0, 1.0])
    close(result(MeanReciprocalRank(), (MRR_SCORES, MRR, None, weights)), 1.0)


@st.composite
def batches(draw: st.DrawFn) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Scores without ties, labels, mask and weights, `[batch, list]` each."""
    count, size = draw(st.integers(1, 4)), draw(st.integers(1, 6))

    def table(values: st.SearchStrategy[Any]) -> list[list[Any]]:
        return draw(st.lists(st.lists(values, min_size=size, max_size=size), min_size=count, max_size=count))

    scores = [draw(st.permutations(range(size))) for _ in range(count)]
    return (
        torch.tensor(scores) / 4,
        torch.tensor(table(st.integers(-1, 3))),
        torch.tensor(table(st.booleans())),
        torch.tensor(table(st.sampled_from([0.0, 0.5, 1.0, 3.0]))),
    )


@any_metric
@settings(max_examples=30, deadline=None)
@given(batch=batches(), k=st.none() | st.integers(1, 7))
def test_between_zero_and_one(metric: type[RankingMetric], batch: tuple[Any, ...], k: int | None) -> None:
    value = float(result(metric(k), batch))
    assert value >= 0
    assert value <= 1 + 1e-6 or metric is DCG


@any_metric
@settings(max_examples=30, deadline=None)
@given(batch=batches(), k=st.none() | st.integers(1, 7), data=st.data())
def test_the_order_of_a_list_makes_no_difference(
    metric: type[RankingMetric], batch: tuple[Any, ...], k: int | None, data: st.DataObject
) -> None:
    order = torch.tensor(data.draw(st.permutations(range(batch[0].size(1)))))
    close(result(metric(k), tuple(part[:, order] for part in batch)), result(metric(k), batch))


@any_metric
@settings(max_examples=30, deadline=None)
@given(
    batch=batches(), k=st.none() | st.integers(1, 7), other=st.sampled_from([-9.0, 9.0, math.nan, math.inf])
)
def test_ignored_items_make_no_difference(
    metric: type[RankingMetric], batch: tuple[Any, ...], k: int | None, other: float
) -> None:
    scores, labels, mask, weights = batch
    ignored = ~mask | (weights == 0) | (labels < 0)
    relabelled = labels.where(mask, torch.tensor(3))
    changed = (scores.where(~ignored, torch.tensor(other)), relabelled, mask, weights)
    close(result(metric(k), changed), result(metric(k), batch))


@any_metric
@settings(max_examples=30, deadline=None)
@given(batch=batches(), k=st.none() | st.integers(1, 7), data=st.data())
def test_batches_add_up(
    metric: type[RankingMetric], batch: tuple[Any, ...], k: int | None, data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, batch[0].size(0)))
    parts = rows(batch, slice(0, cut)), rows(batch, slice(cut, None))
    whole = result(metric(k), batch)
    close(result(metric(k), *parts), whole)
    one, two = metric(k), metric(k)
    one.update(*parts[0])
    two.update(*parts[1])
    one.merge_state(two)
    close(one.compute(), whole)


@settings(max_examples=30, deadline=None)
@given(batch=batches())
def test_the_best_order_has_an_ndcg_of_one(batch: tuple[Any, ...]) -> None:
    _, labels, mask, _ = batch
    values = ndcg(rank_lists(labels.float(), labels, mask=mask))
    relevant = ((labels > 0) & mask).any(1)
    close(values, relevant.float())


def test_half_precision_scores_are_ranked_in_single() -> None:
    ranked = rank_lists(GRADED_SCORES.half(), GRADED)
    assert ranked.labels.dtype == torch.float32
    close(dcg(ranked).mean(), 3.39040)
    assert rank_lists(GRADED_SCORES.double(), GRADED).labels.dtype == torch.float64


def test_scores_of_lists_are_there_without_a_metric() -> None:
    ranked: RankedLists = rank_lists(PRECISION_SCORES, MAP, k=2)
    close(average_precision(ranked), [1, 0.25, 0, 0.5])


@any_metric
def test_forward_reset_and_pickle(metric: type[RankingMetric]) -> None:
    kept = metric(2)
    first = kept(GRADED_SCORES[:2], GRADED[:2])
    close(first, result(metric(2), (GRADED_SCORES[:2], GRADED[:2])))
    kept(GRADED_SCORES[2:], GRADED[2:])
    whole = result(metric(2), (GRADED_SCORES, GRADED))
    close(kept.compute(), whole)
    close(pickle.loads(pickle.dumps(kept)).compute(), whole)
    kept.reset()
    close(result(kept, (GRADED_SCORES[:2], GRADED[:2])), first)


def test_errors_say_what_came() -> None:
    with pytest.raises(ValueError, match="k is 0; give at least 1"):
        NDCG(0)
    with pytest.raises(ValueError, match=r"labels \[4, 3\] and scores \[4, 4\]"):
        NDCG().update(GRADED_SCORES, GRADED[:, :3])
    with pytest.raises(ValueError, match=r"sample_weight has shape \[3\], scores have \[4, 4\]"):
        NDCG().update(GRADED_SCORES, GRADED, None, torch.ones(3))


def _measure(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    # The list without relevance is alone, so its weight comes from the other process.
    mine = slice(0, 2) if rank == 0 else slice(2, 3)
    batch = rows((MRR_SCORES, MRR, None, LIST_WEIGHTS), mine)
    metrics = [result(metric(3), batch) for metric in CLASSES]
    torch.save(torch.stack(metrics), f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


def test_processes_add_up(tmp_path: Path) -> None:
    multiprocessing.spawn(_measure, args=(str(tmp_path),), nprocs=2)  # type: ignore[attr-defined, no-untyped-call]
    batch = rows((MRR_SCORES, MRR, None, LIST_WEIGHTS), slice(0, 3))
    expected = torch.stack([result(metric(3), batch) for metric in CLASSES])
    for rank in (0, 1):
        close(torch.load(tmp_path / f"{rank}.pt"), expected)
