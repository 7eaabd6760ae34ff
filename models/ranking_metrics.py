"""Metrics of ranked lists that accumulate over batches and processes, with the numbers of Keras-RS 0.4."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from torchtowers.models import ranked_lists
from torchtowers.models.ranked_lists import (
    RankedLists,
    exponential_gain,
    list_weights,
    logarithmic_discount,
    rank_lists,
)

__all__ = [
    "DCG",
    "NDCG",
    "MeanAveragePrecision",
    "MeanReciprocalRank",
    "PrecisionAtK",
    "RankingMetric",
    "RecallAtK",
]


class RankingMetric(Metric, ABC):
    """Weighted mean over lists of a number that each list has.

    A list weighs `sum(weight * relevance) / sum(relevance)`. A list without relevance scores 0 and has the
    average weight of the others; one whose items are all ignored or weigh 0 has none. The average is that of
    all batches, so the result does not depend on how the lists were batched or on the number of processes;
    Keras-RS takes it batch by batch. Ties: `rank_lists`.

    Args:
        k: How many of the best items count; all, if not given.
        **kwargs: Those of `torchmetrics.Metric`.

    Raises:
        ValueError: `k` is less than 1.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    weighted_sum: Tensor
    weight_sum: Tensor
    relevant_lists: Tensor
    irrelevant_lists: Tensor

    def __init__(self, k: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if k is not None and k < 1:
            raise ValueError(f"k is {k}; give at least 1, or None for the whole list")
        self.k = k
        # float64: a sum of 16.8 million ones in float32 grows no more.
        for name in ("weighted_sum", "weight_sum", "relevant_lists", "irrelevant_lists"):
            self.add_state(name, torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    @abstractmethod
    def list_values(self, ranked: RankedLists) -> Tensor:
        """Compute the number of each list, `[batch]`, 0 without relevance."""

    def list_relevance(self, ranked: RankedLists) -> Tensor:
        """Say how relevant each item is, `[batch, list]`; it decides the lists' weights."""
        return ranked.relevance

    def update(
        self,
        scores: Tensor,
        labels: Tensor,
        mask: Tensor | None = None,
        sample_weight: Tensor | None = None,
    ) -> None:
        """Take in a batch of lists.

        Args:
            scores: `[batch, list]` or `[list]`.
            labels: The same shape; relevant from 1 on, items below 0 are ignored.
            mask: Bool, the same shape; false items are ignored.
            sample_weight: A scalar, `[batch]`, `[batch, 1]` or the shape of the scores; items that weigh 0 or
                less are ignored.

        Raises:
            ValueError: Shapes that do not match.
        """
        ranked = rank_lists(scores, labels, k=self.k, mask=mask, sample_weight=sample_weight)
        relevance = self.list_relevance(ranked)
        weights = list_weights(ranked.weights, relevance).double()
        relevant = relevance.sum(1) > 0
        weighed = ranked.weights.sum(1) > 0
        self.weighted_sum += (self.list_values(ranked) * weights).sum()
        self.weight_sum += weights.sum()
        self.relevant_lists += (weighed & relevant).sum()
        self.irrelevant_lists += (weighed & ~relevant).sum()

    def compute(self) -> Tensor:
        """Compute the mean over all lists so far, a scalar; 0 if no list had anything relevant."""
        if not self.relevant_lists > 0 or not self.weight_sum > 0:
            return torch.zeros_like(self.weighted_sum, dtype=torch.float32)
        share = self.relevant_lists / (self.relevant_lists + self.irrelevant_lists)
        return (self.weighted_sum / self.weight_sum * share).float()


class DCG(RankingMetric):
    """Discounted cumulative gain at k (`ranked_lists.dcg`, Keras-RS `DCG`).

    Args:
        k: How many of the best items count; all, if not given.
        gain_fn: From labels to gains of at least 0; `2^label - 1`. A module-level function, if the metric is
            to be pickled.
        rank_discount_fn: From ranks, which start from 1, to factors; `1 / log2(1 + rank)`.
        **kwargs: Those of `torchmetrics.Metric`.

    Example:
        >>> metric = DCG(k=2)
        >>> metric.update(torch.tensor([[0.1, 0.9, 0.2]]), torch.tensor([[1, 2, 0]]))
        >>> float(metric.compute())
        3.0
    """

    def __init__(
        self,
        k: int | None = None,
        *,
        gain_fn: Callable[[Tensor], Tensor] = exponential_gain,
        rank_discount_fn: Callable[[Tensor], Tensor] = logarithmic_discount,
        **kwargs: Any,
    ) -> None:
        super().__init__(k, **kwargs)
        self.gain_fn = gain_fn
        self.rank_discount_fn = rank_discount_fn

    def list_values(self, ranked: RankedLists) -> Tensor:
        """Compute the DCG of each list, `[batch]`."""
        return ranked_lists.dcg(ranked, self.gain_fn, self.rank_discount_fn)

    def list_relevance(self, ranked: RankedLists) -> Tensor:
        """Take the gain of each item for its relevance, `[batch, list]`."""
        return self.gain_fn(ranked.labels)


class NDCG(DCG):
    """DCG at k over that of the best order, in [0, 1] (`ranked_lists.ndcg`, Keras-RS `NDCG`).

    Arguments are those of `DCG`.

    Example:
        >>> metric = NDCG()
        >>> metric.update(torch.tensor([[0.1, 0.9, 0.2]]), torch.tensor([[0, 2, 1]]))
        >>> float(metric.compute())
        1.0
    """

    def list_values(self, ranked: RankedLists) -> Tensor:
        """Compute the NDCG of each list, `[batch]`."""
        return ranked_lists.ndcg(ranked, self.gain_fn, self.rank_discount_fn)


class MeanAveragePrecision(RankingMetric):
    """Mean average precision at k, in [0, 1]; divides by all relevant items, also by those below k.

    Source: `ranked_lists.average_precision`, Keras-RS `MeanAveragePrecision`.

    Example:
        >>> metric = MeanAveragePrecision()
        >>> metric.update(torch.tensor([[0.9, 0.5, 0.1, 0.0]]), torch.tensor([[1, 0, 0, 1]]))
        >>> float(metric.compute())
        0.75
    """

    def list_values(self, ranked: RankedLists) -> Tensor:
        """Compute the average precision of each list, `[batch]`."""
        return ranked_lists.average_precision(ranked)


class MeanReciprocalRank(RankingMetric):
    """Mean of 1 over the rank of the first relevant item, in [0, 1].

    Source: `ranked_lists.reciprocal_rank`, Keras-RS `MeanReciprocalRank`.

    Example:
        >>> metric = MeanReciprocalRank()
        >>> metric.update(torch.tensor([[0.9, 0.5, 0.1]]), torch.tensor([[0, 1, 1]]))
        >>> float(metric.compute())
        0.5
    """

    def list_values(self, ranked: RankedLists) -> Tensor:
        """Compute the reciprocal rank of each list, `[batch]`."""
        return ranked_lists.reciprocal_rank(ranked)


class PrecisionAtK(RankingMetric):
    """Share of relevant items among the best k, in [0, 1]; a list shorter than k divides by its length.

    Source: `ranked_lists.precision`, Keras-RS `PrecisionAtK`.

    Example:
        >>> metric = PrecisionAtK(k=2)
        >>> metric.update(torch.tensor([[0.9, 0.5, 0.1]]), torch.tensor([[0, 1, 1]]))
        >>> float(metric.compute())
        0.5
    """

    def list_values(self, ranked: RankedLists) -> Tensor:
        """Compute the precision of each list, `[batch]`."""
        return ranked_lists.precision(ranked)


class RecallAtK(RankingMetric):
    """Share of the relevant items that is among the best k, in [0, 1].

    Source: `ranked_lists.recall`, Keras-RS `RecallAtK`.

    Example:
        >>> metric = RecallAtK(k=1)
        >>> metric.update(torch.tensor([[0.1, 0.9, 0.5]]), torch.tensor([[0, 1, 1]]))
        >>> float(metric.compute())
        0.5
    """

    def list_values(self, ranked: RankedLists) -> Tensor:
        """Compute the recall of each list, `[batch]`."""
        return ranked_lists.recall(ranked)
