"""Whole-catalogue metrics by hand, against torchmetrics' retrieval metrics and those of Keras-RS."""

from typing import Any

import numpy as np
import pytest
import torch
import torchmetrics.retrieval
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from torchtowers.models import ranking_metrics
from torchtowers.models.brute_force import BruteForce
from torchtowers.models.catalogue_metrics import FIGURES, CatalogueMetrics, catalogue_figures
from torchtowers.models.streaming import Streaming

KS = (1, 3, 10, 40)


def figures(metric: CatalogueMetrics) -> dict[str, float]:
    return {name: float(value) for name, value in metric.compute().items()}


def close(actual: dict[str, float], expected: dict[str, float]) -> None:
    assert actual == {name: pytest.approx(value, abs=1e-6) for name, value in expected.items()}


def test_values_worked_out_by_hand() -> None:
    """User 0 finds its items at places 1 and 3 of 4; user 1 has one, excluded items skipped, at place 2."""
    scores = torch.tensor([[0.9, 0.8, 0.7, 0.6], [0.9, 0.8, 0.7, 0.6]])
    metric = CatalogueMetrics(ks=(1, 2, 3))
    metric.update(scores, relevant=[[0, 2], [2]], exclude=[[], [1]])
    second, third = 1 / np.log2(3), 1 / np.log2(4)
    close(
        figures(metric),
        {
            "recall@1": (1 / 2 + 0) / 2,
            "ndcg@1": (1 + 0) / 2,
            "precision@1": (1 + 0) / 2,
            "mrr@1": (1 + 0) / 2,
            "map@1": (1 / 2 + 0) / 2,
            "hit_rate@1": 1 / 2,
            "recall@2": (1 / 2 + 1) / 2,
            "ndcg@2": (1 / (1 + second) + second) / 2,
            "precision@2": (1 / 2 + 1 / 2) / 2,
            "mrr@2": (1 + 1 / 2) / 2,
            "map@2": (1 / 2 + 1 / 2) / 2,
            "hit_rate@2": 1,
            "recall@3": 1,
            "ndcg@3": ((1 + third) / (1 + second) + second) / 2,
            "precision@3": (2 / 3 + 1 / 3) / 2,
            "mrr@3": (1 + 1 / 2) / 2,
            "map@3": ((1 + 2 / 3) / 2 + 1 / 2) / 2,
            "hit_rate@3": 1,
        },
    )


def data(seed: int) -> tuple[Tensor, Tensor, list[list[int]], list[list[int]]]:
    """Embeddings of users and items, relevant items of each user (the last has none), and seen ones."""
    generator = np.random.default_rng(seed)
    users, items = 9, 30
    relevant, seen = [], []
    for row in range(users):
        order = generator.permutation(items).tolist()
        wanted = 0 if row == users - 1 else int(generator.integers(1, 8))
        relevant.append(order[:wanted])
        seen.append(order[wanted : wanted + int(generator.integers(0, 9))])
    queries, candidates = (
        torch.from_numpy(generator.normal(size=(rows, 5)).astype(np.float32)) for rows in (users, items)
    )
    return queries, candidates, relevant, seen


@pytest.mark.parametrize("excluded", [True, False])
@pytest.mark.parametrize("seed", range(5))
def test_figures_are_those_of_torchmetrics_and_keras_rs(seed: int, excluded: bool) -> None:
    queries, candidates, relevant, seen = data(seed)
    scores = queries @ candidates.T
    mask = torch.ones_like(scores, dtype=torch.bool)
    labels = torch.zeros_like(scores)
    for row, items in enumerate(relevant):
        labels[row, items] = 1
        if excluded:
            mask[row, seen[row]] = False
    metric = CatalogueMetrics(ks=KS)
    for row in range(0, len(queries), 4):
        part = slice(row, row + 4)
        metric.update(scores[part], relevant[part], seen[part] if excluded else None)
    found = figures(metric)
    # To torchmetrics, what scores 0 or less is not found.
    positive = scores - scores.min() + 1
    rows = torch.arange(len(scores))[:, None].expand_as(scores)
    for k in KS:
        theirs: dict[str, Any] = {
            "recall": torchmetrics.retrieval.RetrievalRecall("skip", top_k=k),
            "mrr": torchmetrics.retrieval.RetrievalMRR("skip", top_k=k),
            "ndcg": torchmetrics.retrieval.RetrievalNormalizedDCG("skip", top_k=k),
            "hit_rate": torchmetrics.retrieval.RetrievalHitRate("skip", top_k=k),
        }
        if k <= 10:
            # Of fewer candidates than k it says otherwise.
            theirs["precision"] = torchmetrics.retrieval.RetrievalPrecision("skip", top_k=k)
        for name, reference in theirs.items():
            reference.update(positive[mask], labels[mask].long(), indexes=rows[mask])
            assert found[f"{name}@{k}"] == pytest.approx(float(reference.compute()), abs=1e-6), (name, k)
        for name, keras in {
            "recall": ranking_metrics.RecallAtK(k),
            "map": ranking_metrics.MeanAveragePrecision(k),
            "mrr": ranking_metrics.MeanReciprocalRank(k),
            "ndcg": ranking_metrics.NDCG(k),
        }.items():
            # The last user has nothing relevant.
            keras.update(scores[:-1], labels[:-1], mask[:-1])
            assert found[f"{name}@{k}"] == pytest.approx(float(keras.compute()), abs=1e-6), (name, k)


@pytest.mark.parametrize("seed", range(3))
def test_an_index_gives_what_its_scores_give(seed: int) -> None:
    queries, candidates, relevant, seen = data(seed)
    names = np.array([f"item {row}" for row in range(len(candidates))])
    by_score = CatalogueMetrics(ks=KS)
    by_score.update(queries @ candidates.T, relevant, seen)
    for index in (
        BruteForce(candidates, names),
        Streaming([(names[:11], candidates[:11]), (names[11:], candidates[11:])]),
    ):
        metric = CatalogueMetrics(index, ks=KS)
        metric.update(queries, [names[row] for row in relevant], [names[row] for row in seen])
        close(figures(metric), figures(by_score))
    numbered = CatalogueMetrics(BruteForce(candidates), ks=KS)
    numbered.update(queries, [torch.tensor(row) for row in relevant], seen)
    close(figures(numbered), figures(by_score))


@pytest.mark.parametrize("over_index", [True, False])
def test_a_batch_of_one_and_what_can_not_be_found(over_index: bool) -> None:
    candidates = torch.tensor([[3.0], [2.0], [1.0]])
    metric = CatalogueMetrics(BruteForce(candidates) if over_index else None, ks=(1, 5))
    query = torch.ones(1, 1) if over_index else candidates.T
    # Excluded, and more ks than candidates: still not found.
    metric.update(query, [[0]], [[0]])
    assert set(figures(metric).values()) == {0.0}
    metric.update(query, [[1, 1]], [[0, 2]])
    # The list of three is what precision divides by.
    assert figures(metric)["precision@5"] == pytest.approx((0 + 1 / 3) / 2)
    assert figures(metric)["recall@1"] == 0.5


def test_an_id_that_the_index_does_not_have_is_a_miss() -> None:
    metric = CatalogueMetrics(BruteForce(torch.tensor([[1.0], [2.0]]), ["a", "b"]), ks=(5,))
    metric.update(torch.ones(1, 1), [["b", "new"]])
    assert figures(metric)["recall@5"] == 0.5


def test_equal_scores_count_for_the_relevant_by_score_and_come_in_order_in_an_index() -> None:
    by_score, index = CatalogueMetrics(ks=(1,)), CatalogueMetrics(BruteForce(torch.ones(4, 1)), ks=(1,))
    by_score.update(torch.ones(1, 4), [[3]])
    index.update(torch.ones(1, 1), [[3]])
    assert figures(by_score)["recall@1"] == 1
    assert figures(index)["recall@1"] == 0


@given(st.integers(0, 2**32 - 1))
def test_no_figure_leaves_0_to_1_whatever_the_ties(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randint(0, 3, (4, 9), generator=generator).float()
    relevant = [torch.randperm(9, generator=generator)[: 1 + row] for row in range(4)]
    metric = CatalogueMetrics(ks=(1, 2, 5, 9))
    metric.update(scores, relevant)
    found = figures(metric)
    assert min(found.values()) >= 0
    assert max(found.values()) <= 1
    for low, high in ((1, 2), (2, 5), (5, 9)):
        assert found[f"recall@{low}"] <= found[f"recall@{high}"] <= found[f"hit_rate@{high}"]
    assert found["recall@9"] == found["hit_rate@9"] == 1


def test_users_without_relevant_items_are_left_out() -> None:
    metric = CatalogueMetrics(ks=(1,))
    metric.update(torch.tensor([[1.0, 0.0], [1.0, 0.0]]), [[0], []])
    assert figures(metric)["recall@1"] == 1
    metric.reset()
    metric.update(torch.ones(2, 2), [[], []], [[0, 1], []])
    metric.update(torch.ones(0, 2), [])
    assert figures(metric) == {f"{name}@1": 0.0 for name in FIGURES}
    assert catalogue_figures(torch.empty(0).long(), torch.empty(0).long(), 0, 2, (1, 2)).shape == (6, 2, 0)


def test_the_scores_stay_as_they_are_and_nothing_is_kept_for_gradients() -> None:
    scores = torch.randn(2, 5, requires_grad=True)
    before = scores.detach().clone()
    metric = CatalogueMetrics(ks=(2,))
    metric.update(scores, [[1], [2]], [[0], []])
    assert torch.equal(scores, before)
    assert not metric.sums.requires_grad


def test_what_does_not_fit_is_refused() -> None:
    metric = CatalogueMetrics()
    with pytest.raises(ValueError, match="2 users and 1 lists of items"):
        metric.update(torch.ones(2, 3), [[1]])
    with pytest.raises(ValueError, match="1 users and 2 lists of items"):
        metric.update(torch.ones(1, 3), [[1]], [[2], [0]])
    for item in (3, -1):
        with pytest.raises(IndexError, match=f"item {item} is no column of scores for 3 items"):
            metric.update(torch.ones(1, 3), [[item]])
        with pytest.raises(IndexError, match=f"item {item} is no column"):
            metric.update(torch.ones(1, 3), [[1]], [[item]])
    with pytest.raises(ValueError, match="different numbers of at least 1"):
        CatalogueMetrics(ks=(0,))
    for strange in ("1", 1.0, True):
        with pytest.raises(TypeError, match=f"the column of its score, an integer, got {strange!r}"):
            metric.update(torch.ones(1, 3), [[strange]])
        with pytest.raises(TypeError, match=f"an integer, got {strange!r}"):
            metric.update(torch.ones(1, 3), [[1]], [[0, strange]])


def test_ids_of_another_kind_than_the_indexs_are_refused() -> None:
    rows, query = torch.tensor([[1.0], [2.0]]), torch.ones(1, 1)
    for index in (BruteForce(rows, ["1", "2"]), Streaming([(["1", "2"], rows)])):
        metric = CatalogueMetrics(index)
        with pytest.raises(TypeError, match="are text, got numbers such as 1"):
            metric.update(query, [[1]])
        with pytest.raises(TypeError, match="are text, got numbers such as 2"):
            metric.update(query, [["1"]], [[2]])
        metric.update(query, [[]], [[]])
        assert metric.users == 0
