"""Lists in the order of their scores, and what each is worth: functions from `RankedLists` to `[batch]`."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from torchtowers.models.lists import as_lists, item_weights

__all__ = [
    "RankedLists",
    "average_precision",
    "dcg",
    "exponential_gain",
    "list_weights",
    "logarithmic_discount",
    "ndcg",
    "precision",
    "rank_lists",
    "recall",
    "reciprocal_rank",
]


@dataclass(frozen=True)
class RankedLists:
    """A batch of lists and the order of their items.

    Attributes:
        labels: Float `[batch, list]`, in the order given; 0 for ignored items.
        weights: Float `[batch, list]`; 0 for ignored items.
        counts: Bool `[batch, list]`; which items are not ignored.
        order: int64 `[batch, min(k, list)]`; the positions of the best k items, ignored ones last.
    """

    labels: Tensor
    weights: Tensor
    counts: Tensor
    order: Tensor

    @property
    def relevance(self) -> Tensor:
        """1 where the label is at least 1, else 0: `[batch, list]`."""
        return (self.labels >= 1).to(self.labels.dtype)

    def top(self, values: Tensor) -> Tensor:
        """Take `[batch, list]` in the order of the scores: `[batch, min(k, list)]`."""
        return values.gather(1, self.order)


def rank_lists(
    scores: Tensor,
    labels: Tensor,
    *,
    k: int | None = None,
    mask: Tensor | None = None,
    sample_weight: Tensor | None = None,
) -> RankedLists:
    """Order lists by score, best first.

    Ignored are items with a label below 0, a false mask or a weight of 0 or less. Equal scores keep the order
    that the items came in, so a list given with its relevant items first flatters a model that scores all
    items alike; a score of NaN ranks as the worst.

    Args:
        scores: `[batch, list]` or `[list]`.
        labels: The same shape; at least 0, relevant from 1 on.
        k: How many items of each list are kept in `order`; all, if not given.
        mask: Bool, the same shape; false items are ignored.
        sample_weight: A scalar, `[batch]`, `[batch, 1]` or the shape of the scores.

    Raises:
        ValueError: Shapes that do not match.

    Example:
        >>> rank_lists(torch.tensor([0.1, 0.9, 0.9]), torch.tensor([1, 0, 0]), k=2).order.tolist()
        [[1, 2]]
    """
    scores = scores.detach()
    if scores.dtype != torch.float64:
        scores = scores.float()
    lists, graded, counts = as_lists(scores, labels, mask)
    weights = torch.ones_like(lists)
    if sample_weight is not None:
        weights = item_weights(sample_weight.detach(), scores)
        counts = counts & (weights > 0)
    # NaN would sort as the largest score. Two stable sorts: an item scored -inf still precedes the ignored.
    comparable = lists.masked_fill(lists.isnan(), float("-inf"))
    by_score = torch.argsort(comparable, dim=1, descending=True, stable=True)
    counted_first = torch.argsort(counts.gather(1, by_score).int(), dim=1, descending=True, stable=True)
    return RankedLists(
        labels=graded.masked_fill(~counts, 0.0),
        weights=weights.masked_fill(~counts, 0.0),
        counts=counts,
        order=by_score.gather(1, counted_first)[:, :k],
    )


def list_weights(weights: Tensor, relevance: Tensor) -> Tensor:
    """Weigh each list by its items: `sum(weight * relevance) / sum(relevance)`, 0 without relevance.

    Args:
        weights: `[batch, list]`.
        relevance: `[batch, list]`.

    Returns:
        `[batch]`.

    Example:
        >>> list_weights(torch.tensor([[2.0, 4.0]]), torch.tensor([[1.0, 1.0]])).tolist()
        [3.0]
    """
    return _divide((weights * relevance).sum(1), relevance.sum(1))


def exponential_gain(labels: Tensor) -> Tensor:
    """Gain of a label, `2^label - 1`; any shape.

    Example:
        >>> exponential_gain(torch.tensor([0.0, 3.0])).tolist()
        [0.0, 7.0]
    """
    return torch.exp2(labels) - 1


def logarithmic_discount(ranks: Tensor) -> Tensor:
    """Discount of a rank that starts from 1, `1 / log2(1 + rank)`; any shape.

    Example:
        >>> logarithmic_discount(torch.tensor([1.0, 3.0])).tolist()
        [1.0, 0.5]
    """
    return 1 / torch.log2(1 + ranks)


def dcg(
    ranked: RankedLists,
    gain_fn: Callable[[Tensor], Tensor] = exponential_gain,
    rank_discount_fn: Callable[[Tensor], Tensor] = logarithmic_discount,
) -> Tensor:
    """Discounted cumulative gain of each list, weighted by item and divided by the list's weight: `[batch]`.

    Source: Järvelin & Kekäläinen 2002; Keras-RS `DCG`.

    Example:
        >>> dcg(rank_lists(torch.tensor([0.2, 0.9]), torch.tensor([1, 0])))
        tensor([0.6309])
    """
    gains = gain_fn(ranked.labels)
    total = _discounted(ranked.top(ranked.weights * gains), rank_discount_fn)
    return _divide(total, list_weights(ranked.weights, gains))


def ndcg(
    ranked: RankedLists,
    gain_fn: Callable[[Tensor], Tensor] = exponential_gain,
    rank_discount_fn: Callable[[Tensor], Tensor] = logarithmic_discount,
) -> Tensor:
    """DCG of each list over that of its best order by weighted gain, 0 without relevance: `[batch]`.

    Source: Järvelin & Kekäläinen 2002; Keras-RS `NDCG`.

    Example:
        >>> ndcg(rank_lists(torch.tensor([0.2, 0.9]), torch.tensor([1, 0])))
        tensor([0.6309])
    """
    gains = ranked.weights * gain_fn(ranked.labels)
    # Ignored items have a weight of 0, so they come last or make no difference.
    ideal = gains.sort(dim=1, descending=True).values[:, : ranked.order.size(1)]
    return _divide(_discounted(ranked.top(gains), rank_discount_fn), _discounted(ideal, rank_discount_fn))


def average_precision(ranked: RankedLists) -> Tensor:
    """Weighted mean of the precision at the rank of each relevant item, 0 for those below k: `[batch]`.

    Example:
        >>> average_precision(rank_lists(torch.tensor([0.9, 0.5, 0.1]), torch.tensor([1, 0, 1])))
        tensor([0.8333])
    """
    hits = ranked.top(ranked.relevance)
    precisions = hits.cumsum(1) / _ranks(hits)
    found = (precisions * hits * ranked.top(ranked.weights)).sum(1)
    return _divide(found, (ranked.weights * ranked.relevance).sum(1))


def reciprocal_rank(ranked: RankedLists) -> Tensor:
    """1 over the rank of the first relevant item, 0 if it isn't among the best k: `[batch]`.

    Example:
        >>> reciprocal_rank(rank_lists(torch.tensor([0.9, 0.5, 0.1]), torch.tensor([0, 1, 1])))
        tensor([0.5000])
    """
    hits = ranked.top(ranked.relevance)
    # Not amax: a list may be empty.
    first = hits * (hits.cumsum(1) == 1)
    return (first / _ranks(hits)).sum(1)


def precision(ranked: RankedLists) -> Tensor:
    """Relevant items among the best k, over k or the number of items that count, if that is less: `[batch]`.

    Example:
        >>> precision(rank_lists(torch.tensor([0.9, 0.5, 0.1]), torch.tensor([1, 0, 1]), k=2))
        tensor([0.5000])
    """
    hits = ranked.top(ranked.relevance)
    return _divide(hits.sum(1), ranked.counts.sum(1).clamp(max=hits.size(1)).to(hits.dtype))


def recall(ranked: RankedLists) -> Tensor:
    """Relevant items among the best k, over all relevant items of the list, 0 without any: `[batch]`.

    Example:
        >>> recall(rank_lists(torch.tensor([0.9, 0.5, 0.1]), torch.tensor([1, 0, 1]), k=2))
        tensor([0.5000])
    """
    return _divide(ranked.top(ranked.relevance).sum(1), ranked.relevance.sum(1))


def _ranks(top: Tensor) -> Tensor:
    return torch.arange(1, top.size(1) + 1, device=top.device, dtype=top.dtype)


def _discounted(gains: Tensor, rank_discount_fn: Callable[[Tensor], Tensor]) -> Tensor:
    return (gains * rank_discount_fn(_ranks(gains))).sum(1)


def _divide(numerator: Tensor, denominator: Tensor) -> Tensor:
    """Divide, with 0 where the denominator is 0."""
    empty = denominator == 0
    return (numerator / denominator.masked_fill(empty, 1.0)).masked_fill(empty, 0.0)
