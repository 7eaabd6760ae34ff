"""Pairwise losses: each pair of a list in the wrong order costs. The numbers are those of Keras-RS 0.4.

All functions have one signature; the classes carry temperature and reduction, under the names of Keras-RS.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from torchtowers.models.list_loss import ListLoss
from torchtowers.models.lists import as_lists, item_weights
from torchtowers.models.reduction import reduce

__all__ = [
    "PairwiseHingeLoss",
    "PairwiseLogisticLoss",
    "PairwiseMeanSquaredError",
    "PairwiseSoftZeroOneLoss",
    "pairwise_hinge_loss",
    "pairwise_logistic_loss",
    "pairwise_mean_squared_error",
    "pairwise_soft_zero_one_loss",
]


def pairwise_hinge_loss(
    scores: Tensor,
    labels: Tensor,
    mask: Tensor | None = None,
    sample_weight: Tensor | None = None,
    temperature: float = 1.0,
    reduction: str = "mean",
) -> Tensor:
    """Sum `relu(1 - (s_i - s_j))` over the pairs with `y_i > y_j` (Keras-RS `PairwiseHingeLoss`).

    Args:
        scores: `[batch, list]` or `[list]`.
        labels: The same shape, graded; items with a label below 0 are ignored.
        mask: Bool, the same shape; false items are ignored too.
        sample_weight: A scalar, `[batch]`, `[batch, 1]` or the shape of the scores; multiplies the loss of
            item i, which is the sum over its pairs.
        temperature: Divides the differences of scores; above 0.
        reduction: `none`, `sum` or `mean`, which divides by the number of items, ignored ones included.

    Returns:
        A scalar; the loss of each item, in the shape of the scores, for `none`.

    Raises:
        ValueError: Shapes that do not match, a temperature of 0 or less, an unknown reduction.

    Example:
        >>> pairwise_hinge_loss(torch.tensor([1.0, 3.0, 2.0]), torch.tensor([2, 0, 1]), reduction="none")
        tensor([5., 0., 2.])
    """
    difference, ordered = _ordered_pairs(scores, labels, mask, temperature)
    return _reduce_pairs(F.relu(1 - difference), ordered, scores, sample_weight, reduction)


def pairwise_logistic_loss(
    scores: Tensor,
    labels: Tensor,
    mask: Tensor | None = None,
    sample_weight: Tensor | None = None,
    temperature: float = 1.0,
    reduction: str = "mean",
) -> Tensor:
    """Sum `log(1 + exp(-(s_i - s_j)))` over the pairs with `y_i > y_j` (Keras-RS `PairwiseLogisticLoss`).

    Arguments, result and errors are those of `pairwise_hinge_loss`. Source: RankNet, Burges et al. 2005.

    Example:
        >>> round(float(pairwise_logistic_loss(torch.tensor([1.0, 3.0]), torch.tensor([0, 1]))), 4)
        0.0635
    """
    difference, ordered = _ordered_pairs(scores, labels, mask, temperature)
    return _reduce_pairs(F.softplus(-difference), ordered, scores, sample_weight, reduction)


def pairwise_soft_zero_one_loss(
    scores: Tensor,
    labels: Tensor,
    mask: Tensor | None = None,
    sample_weight: Tensor | None = None,
    temperature: float = 1.0,
    reduction: str = "mean",
) -> Tensor:
    """Sum `1 - sigmoid(s_i - s_j)` over the pairs with `y_i > y_j` (Keras-RS `PairwiseSoftZeroOneLoss`).

    Arguments, result and errors are those of `pairwise_hinge_loss`.

    Example:
        >>> float(pairwise_soft_zero_one_loss(torch.zeros(2), torch.tensor([0, 1]), reduction="sum"))
        0.5
    """
    difference, ordered = _ordered_pairs(scores, labels, mask, temperature)
    return _reduce_pairs(torch.sigmoid(-difference), ordered, scores, sample_weight, reduction)


def pairwise_mean_squared_error(
    scores: Tensor,
    labels: Tensor,
    mask: Tensor | None = None,
    sample_weight: Tensor | None = None,
    temperature: float = 1.0,
    reduction: str = "mean",
) -> Tensor:
    """Sum `((y_i - y_j) - (s_i - s_j))^2` over all pairs of two items (Keras-RS `PairwiseMeanSquaredError`).

    Arguments, result and errors are those of `pairwise_hinge_loss`, but the temperature changes nothing, as
    in Keras-RS: the labels give the differences their scale.

    Example:
        >>> float(pairwise_mean_squared_error(torch.tensor([1.0, 3.0]), torch.tensor([0, 1])))
        1.0
    """
    _check_temperature(temperature)
    scores_2d, labels_2d, counts = as_lists(scores, labels, mask)
    residual = labels_2d - scores_2d
    # An item paired with itself has a difference of 0, so the diagonal needs no mask.
    difference = residual.unsqueeze(2) - residual.unsqueeze(1)
    return _reduce_pairs(difference * difference, _both(counts), scores, sample_weight, reduction)


def _check_temperature(temperature: float) -> None:
    if not temperature > 0:
        raise ValueError(f"temperature is {temperature}; give a number above 0")


def _both(counts: Tensor) -> Tensor:
    return torch.logical_and(counts.unsqueeze(2), counts.unsqueeze(1))


def _ordered_pairs(
    scores: Tensor, labels: Tensor, mask: Tensor | None, temperature: float
) -> tuple[Tensor, Tensor]:
    """Differences `s_i - s_j` over the temperature, and which pairs have `y_i > y_j`: `[batch, i, j]`."""
    _check_temperature(temperature)
    scores, labels, counts = as_lists(scores, labels, mask)
    ordered = labels.unsqueeze(2) > labels.unsqueeze(1)
    difference = (scores.unsqueeze(2) - scores.unsqueeze(1)) / temperature
    return difference, torch.logical_and(ordered, _both(counts))


def _reduce_pairs(
    values: Tensor, pairs: Tensor, scores: Tensor, sample_weight: Tensor | None, reduction: str
) -> Tensor:
    """Sum `[batch, i, j]` over j where the pair counts, weigh, bring to the shape of the scores, reduce."""
    losses = values.masked_fill(torch.logical_not(pairs), 0.0).sum(2)
    if sample_weight is not None:
        losses = losses * item_weights(sample_weight, scores)
    return reduce(losses.view_as(scores), reduction)


class PairwiseHingeLoss(ListLoss):
    """`pairwise_hinge_loss` with its temperature and reduction.

    Example:
        >>> float(PairwiseHingeLoss(temperature=0.5)(torch.tensor([1.0, 3.0]), torch.tensor([1, 0])))
        2.5
    """

    function = staticmethod(pairwise_hinge_loss)


class PairwiseLogisticLoss(ListLoss):
    """`pairwise_logistic_loss` with its temperature and reduction.

    Example:
        >>> round(float(PairwiseLogisticLoss()(torch.tensor([1.0, 3.0]), torch.tensor([1, 0]))), 4)
        1.0635
    """

    function = staticmethod(pairwise_logistic_loss)


class PairwiseSoftZeroOneLoss(ListLoss):
    """`pairwise_soft_zero_one_loss` with its temperature and reduction.

    Example:
        >>> float(PairwiseSoftZeroOneLoss(reduction="sum")(torch.zeros(2), torch.tensor([1, 0])))
        0.5
    """

    function = staticmethod(pairwise_soft_zero_one_loss)


class PairwiseMeanSquaredError(ListLoss):
    """`pairwise_mean_squared_error` with its reduction; the temperature changes nothing.

    Example:
        >>> float(PairwiseMeanSquaredError()(torch.tensor([1.0, 3.0]), torch.tensor([1, 0])))
        9.0
    """

    function = staticmethod(pairwise_mean_squared_error)
