"""Listwise losses: the likelihood of the whole order of a list; the numbers are those of Keras-RS 0.4."""

import torch
from torch import Tensor

from torchtowers.models.list_loss import ListLoss
from torchtowers.models.lists import as_lists
from torchtowers.models.reduction import reduce

__all__ = ["ListMLELoss", "list_mle_loss"]


def list_mle_loss(
    scores: Tensor,
    labels: Tensor,
    mask: Tensor | None = None,
    sample_weight: Tensor | None = None,
    temperature: float = 1.0,
    reduction: str = "mean",
) -> Tensor:
    """Negative log-likelihood of the order of the labels under the scores (Keras-RS `ListMLELoss`).

    With the items in descending order of label: `-sum_i (s_i - log sum_{j >= i} exp(s_j))`. Items of equal
    label keep the order they came in. Keras-RS adds 1e-10 inside the logarithm, so that an item scored more
    than 23 below the best one costs something even in the right place; here it does not.

    Source: Xia et al., "Listwise Approach to Learning to Rank", 2008.

    Args:
        scores: `[batch, list]` or `[list]`.
        labels: The same shape, graded; items with a label below 0 are ignored.
        mask: Bool, the same shape; false items are ignored too.
        sample_weight: One weight a list: a scalar, `[batch]` or `[batch, 1]`.
        temperature: Divides the scores; above 0.
        reduction: `none`, `sum` or `mean` over the lists; a list without items costs 0 and is counted.

    Returns:
        A scalar; for `none` `[batch]`, or a scalar for a single list. float32 for scores in half precision.

    Raises:
        ValueError: Shapes that do not match, a temperature of 0 or less, an unknown reduction.

    Example:
        >>> round(float(list_mle_loss(torch.tensor([3.0, 1.0, 2.0]), torch.tensor([2, 0, 1]))), 4)
        0.7209
    """
    if not temperature > 0:
        raise ValueError(f"temperature is {temperature}; give a number above 0")
    # Half precision has neither the range of the padding nor the digits of a logarithm of sums.
    wide = scores if scores.dtype == torch.float64 else scores.float()
    scores_2d, labels_2d, counts = as_lists(wide, labels, mask)
    if torch.jit.is_scripting():  # type: ignore[attr-defined]
        losses = _by_order(scores_2d / temperature, labels_2d, counts)
    elif torch.onnx.is_in_onnx_export():
        losses = _by_pairs(scores_2d / temperature, labels_2d, counts)
    else:
        losses = _by_order(scores_2d / temperature, labels_2d, counts)
    if sample_weight is not None:
        losses = losses * _list_weights(sample_weight, losses)
    return reduce(losses if scores.dim() == 2 else losses.squeeze(0), reduction)


def _by_order(logits: Tensor, labels: Tensor, counts: Tensor) -> Tensor:
    """Give each list's loss, `[batch]`, from its items in the order of their labels."""
    order = torch.argsort(
        labels.masked_fill(torch.logical_not(counts), -1.0), stable=True, dim=1, descending=True
    )
    ignored = torch.logical_not(counts.gather(1, order))
    ordered = logits.gather(1, order)
    # Not -inf: the backward of logcumsumexp makes NaN of it where the gradient is 0.
    padded = ordered.masked_fill(ignored, -1e30)
    normalizers = torch.logcumsumexp(padded.flip(1), 1).flip(1)
    return (normalizers - ordered).masked_fill(ignored, 0.0).sum(1)


def _by_pairs(logits: Tensor, labels: Tensor, counts: Tensor) -> Tensor:
    """Give the same from pairs, since ONNX has no stable sort and no cumulative sum of exponentials."""
    place = torch.arange(labels.size(1), device=labels.device)
    equal = torch.logical_and(labels[:, None, :] == labels[:, :, None], place[None, :] >= place[:, None])
    behind = torch.logical_or(labels[:, None, :] < labels[:, :, None], equal)
    behind = torch.logical_and(behind, counts[:, None, :])
    normalizers = logits[:, None, :].masked_fill(torch.logical_not(behind), -1e30).logsumexp(2)
    return (normalizers - logits).masked_fill(torch.logical_not(counts), 0.0).sum(1)


def _list_weights(sample_weight: Tensor, losses: Tensor) -> Tensor:
    weights = sample_weight.to(losses.dtype)
    if weights.dim() == 0:
        return weights
    if weights.shape == losses.shape or list(weights.shape) == [losses.size(0), 1]:
        return weights.view_as(losses)
    raise ValueError(
        f"sample_weight has shape {list(weights.shape)} for {losses.size(0)} lists; "
        "this loss takes a scalar or one weight a list"
    )


class ListMLELoss(ListLoss):
    """`list_mle_loss` with its temperature and reduction.

    Args:
        temperature: Divides the scores; above 0.
        reduction: `none`, `sum` or `mean` over the lists.

    Example:
        >>> round(float(ListMLELoss()(torch.zeros(1, 2), torch.tensor([[1, 0]]))), 4)
        0.6931
    """

    function = staticmethod(list_mle_loss)
