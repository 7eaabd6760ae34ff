"""Losses of a positive against sampled negatives, one a row: BPR, sampled softmax, cosine contrastive."""

import torch
import torch.nn.functional as F
from torch import Tensor

from torchtowers.models.losses import correct_sampling

__all__ = ["bpr", "cosine_contrastive", "sampled_softmax"]


def bpr(positive: Tensor, negatives: Tensor, mask: Tensor | None = None) -> Tensor:
    """Bayesian personalised ranking: -log sigmoid of the lead over each negative, their mean.

    Source: Rendle et al. 2009.

    Args:
        positive: Scores, `[batch]`.
        negatives: Scores, `[batch, negatives]`.
        mask: bool `[batch, negatives]`; False leaves a negative out. A row without any has a loss of 0.

    Returns:
        `[batch]`.

    Example:
        >>> bpr(torch.tensor([1.0]), torch.tensor([[1.0, 1.0]]))
        tensor([0.6931])
    """
    return _masked_mean(F.softplus(negatives - positive[:, None]), mask)


def sampled_softmax(
    positive: Tensor,
    negatives: Tensor,
    *,
    positive_probability: Tensor | None = None,
    negative_probability: Tensor | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """Cross-entropy of the positive against its sampled negatives.

    With probabilities each score is corrected by the log of how likely its item was drawn, so that the loss
    estimates the one over the whole catalogue. Source: Bengio & Senécal 2008.

    Args:
        positive: Scores, `[batch]`.
        negatives: Scores, `[batch, negatives]`.
        positive_probability: `[batch]`; given together with that of the negatives.
        negative_probability: `[batch, negatives]`.
        mask: bool `[batch, negatives]`; False leaves a negative out.

    Returns:
        `[batch]`.

    Raises:
        ValueError: Only one of the probabilities is given.
    """
    if (positive_probability is None) != (negative_probability is None):
        raise ValueError(
            "sampled_softmax needs the probabilities of the positive and of the negatives, or neither"
        )
    if positive_probability is not None and negative_probability is not None:
        positive = correct_sampling(positive, positive_probability)
        negatives = correct_sampling(negatives, negative_probability)
    if mask is not None:
        negatives = negatives.masked_fill(~mask, float("-inf"))
    logits = torch.cat([positive[:, None], negatives], dim=1)
    return torch.logsumexp(logits, dim=1) - positive


def cosine_contrastive(
    positive: Tensor,
    negatives: Tensor,
    *,
    margin: float = 0.5,
    negative_weight: float = 1.0,
    mask: Tensor | None = None,
) -> Tensor:
    """Pull the positive's cosine to 1, and push the negatives' below a margin (SimpleX, Mao et al. 2021).

    Args:
        positive: Cosines, `[batch]`.
        negatives: Cosines, `[batch, negatives]`.
        margin: Below it a negative is far enough.
        negative_weight: Of the negatives' mean.
        mask: bool `[batch, negatives]`; False leaves a negative out.

    Returns:
        `[batch]`.

    Example:
        >>> cosine_contrastive(torch.tensor([0.75]), torch.tensor([[1.0, 0.0]]))
        tensor([0.5000])
    """
    return (1.0 - positive) + negative_weight * _masked_mean(F.relu(negatives - margin), mask)


def _masked_mean(values: Tensor, mask: Tensor | None) -> Tensor:
    if mask is None:
        return values.mean(1)
    kept = values.masked_fill(~mask, 0.0)
    return kept.sum(1) / mask.sum(1).clamp(min=1)
