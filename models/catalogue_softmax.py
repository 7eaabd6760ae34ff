"""The softmax over the whole catalogue, or over a sample that stands for it."""

import torch
from torch import Tensor

__all__ = ["catalogue_softmax"]


def catalogue_softmax(
    scores: Tensor,
    targets: Tensor,
    shown: Tensor,
    probability: Tensor,
    temperature: float = 1.0,
) -> Tensor:
    """Give the mean cross-entropy of the targets against all candidates but those that are shown.

    A row's targets weigh together as much as the square root of their number, between each target alike,
    by which users of many items decide nearly alone, and each row alike. Candidates that are a sample are
    weighed by how likely they are to be drawn, so that the sum of the exponentials is that over the whole
    catalogue in expectation.

    Args:
        scores: `[rows, candidates]`.
        targets: The row and the column of each target, int64 `[2, targets]`.
        shown: Likewise what competes with no target of its row, int64 `[2, shown]`.
        probability: How likely each candidate is to be among the candidates, `[candidates]`, above 0.
        temperature: Divides the scores.

    Returns:
        A scalar.

    Raises:
        ValueError: The temperature is not positive.

    Example:
        >>> scores = torch.zeros(1, 4)
        >>> targets, shown = torch.tensor([[0], [1]]), torch.tensor([[0, 0], [2, 3]])
        >>> round(float(catalogue_softmax(scores, targets, shown, torch.ones(4))), 4)
        0.6931
    """
    if not temperature > 0:
        raise ValueError(f"the temperature has to be positive, got {temperature}")
    logits = scores / temperature
    masked = torch.zeros_like(logits, dtype=torch.bool)
    masked[shown[0], shown[1]] = True
    total = (logits - probability.log()).masked_fill(masked, float("-inf")).logsumexp(1)
    losses = total[targets[0]] - logits[targets[0], targets[1]]
    weights = torch.bincount(targets[0], minlength=len(scores))[targets[0]].to(logits.dtype).rsqrt()
    return (losses * weights).sum() / weights.sum()
