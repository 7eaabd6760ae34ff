"""Losses of a positive against sampled negatives: BPR, sampled softmax, cosine contrastive (SimpleX).

All functions begin with the same arguments; the classes carry the settings.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from torchtowers.models.losses import correct_sampling
from torchtowers.models.reduction import reduce

__all__ = [
    "BPR",
    "CosineContrastive",
    "SampledSoftmax",
    "bpr",
    "cosine_contrastive",
    "sampled_softmax",
]


def bpr(
    positive: Tensor,
    negatives: Tensor,
    mask: Tensor | None = None,
    sample_weight: Tensor | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Bayesian personalised ranking: -log sigmoid of the lead over each negative, their mean.

    Source: Rendle et al. 2009.

    Args:
        positive: Scores, `[batch]` or, for sequences, `[batch, length]`.
        negatives: Scores, with one dimension more, `[batch, negatives]` or `[batch, length, negatives]`.
        mask: Bool, of the negatives' shape; False leaves a negative out. A positive without any negative has
            a loss of 0.
        sample_weight: A scalar, of the positive's shape, or `[batch, 1]`; 0 leaves an example out.
        reduction: `none`, `sum` or `mean` over the positives, which divides by their number, whatever their
            weights.

    Returns:
        A scalar; for `none` the positive's shape.

    Raises:
        ValueError: Shapes that do not match, an unknown reduction.

    Example:
        >>> float(bpr(torch.tensor([1.0]), torch.tensor([[1.0, 1.0]]), reduction="sum"))
        0.6931471824645996
    """
    _check(positive, negatives, mask)
    losses = _masked_mean(F.softplus(negatives - positive.unsqueeze(-1)), mask)
    return _weigh(losses, sample_weight, reduction)


def sampled_softmax(
    positive: Tensor,
    negatives: Tensor,
    mask: Tensor | None = None,
    sample_weight: Tensor | None = None,
    positive_probability: Tensor | None = None,
    negative_probability: Tensor | None = None,
    temperature: float = 1.0,
    reduction: str = "mean",
) -> Tensor:
    """Cross-entropy of the positive against its sampled negatives.

    With probabilities each score is corrected by the log of how likely its item was drawn, so that the loss
    estimates the one over the whole catalogue. Source: Bengio & Senécal 2008. Arguments, result and errors
    are those of `bpr`, and:

    Args:
        positive: As in `bpr`.
        negatives: As in `bpr`.
        mask: As in `bpr`.
        sample_weight: As in `bpr`.
        positive_probability: Of the positive's shape; given together with that of the negatives.
        negative_probability: Of the negatives' shape, or one that spreads to it, as `[negatives]`.
        temperature: Divides the scores, before the correction; above 0.
        reduction: As in `bpr`.

    Raises:
        ValueError: Only one of the probabilities is given, or a temperature of 0 or less.

    Example:
        >>> round(float(sampled_softmax(torch.tensor([1.0]), torch.tensor([[1.0, 1.0]]))), 4)
        1.0986
    """
    if (positive_probability is None) != (negative_probability is None):
        raise ValueError(
            "sampled_softmax needs the probabilities of the positive and of the negatives, or neither"
        )
    _check_temperature(temperature)
    _check(positive, negatives, mask)
    positive, negatives = positive / temperature, negatives / temperature
    if positive_probability is not None and negative_probability is not None:
        positive = correct_sampling(positive, positive_probability)
        negatives = correct_sampling(negatives, negative_probability)
    if mask is not None:
        negatives = negatives.masked_fill(torch.logical_not(mask), float("-inf"))
    # The lead of all over the positive, without a copy of all that has the positive beside it.
    losses = F.softplus(torch.logsumexp(negatives, dim=-1) - positive)
    return _weigh(losses, sample_weight, reduction)


def cosine_contrastive(
    positive: Tensor,
    negatives: Tensor,
    mask: Tensor | None = None,
    sample_weight: Tensor | None = None,
    margin: float = 0.5,
    negative_weight: float = 1.0,
    reduction: str = "mean",
) -> Tensor:
    """Pull the positive's cosine to 1, and push the negatives' below a margin (SimpleX, Mao et al. 2021).

    Arguments, result and errors are those of `bpr`, with cosines for scores, and:

    Args:
        positive: As in `bpr`.
        negatives: As in `bpr`.
        mask: As in `bpr`.
        sample_weight: As in `bpr`.
        margin: Below it a negative is far enough.
        negative_weight: Of the negatives' mean.
        reduction: As in `bpr`.

    Example:
        >>> float(cosine_contrastive(torch.tensor([0.75]), torch.tensor([[1.0, 0.0]])))
        0.5
    """
    _check(positive, negatives, mask)
    losses = (1.0 - positive) + negative_weight * _masked_mean(F.relu(negatives - margin), mask)
    return _weigh(losses, sample_weight, reduction)


class BPR(nn.Module):
    """`bpr` with its reduction.

    Args:
        reduction: `none`, `sum` or `mean`.

    Example:
        >>> round(float(BPR()(torch.tensor([1.0]), torch.tensor([[1.0, 1.0]]))), 4)
        0.6931
    """

    def __init__(self, *, reduction: str = "mean") -> None:
        super().__init__()
        self.reduction = reduction

    def forward(
        self,
        positive: Tensor,
        negatives: Tensor,
        mask: Tensor | None = None,
        sample_weight: Tensor | None = None,
    ) -> Tensor:
        """Compute the loss; shapes as in the function."""
        return bpr(positive, negatives, mask, sample_weight, self.reduction)


class SampledSoftmax(nn.Module):
    """`sampled_softmax` with its temperature and reduction.

    Args:
        temperature: Divides the scores; above 0.
        reduction: `none`, `sum` or `mean`.

    Raises:
        ValueError: The temperature is 0 or less.

    Example:
        >>> round(float(SampledSoftmax()(torch.tensor([1.0]), torch.tensor([[1.0, 1.0]]))), 4)
        1.0986
    """

    def __init__(self, *, temperature: float = 1.0, reduction: str = "mean") -> None:
        super().__init__()
        _check_temperature(temperature)
        self.temperature = temperature
        self.reduction = reduction

    def forward(
        self,
        positive: Tensor,
        negatives: Tensor,
        mask: Tensor | None = None,
        sample_weight: Tensor | None = None,
        positive_probability: Tensor | None = None,
        negative_probability: Tensor | None = None,
    ) -> Tensor:
        """Compute the loss; shapes as in the function."""
        return sampled_softmax(
            positive,
            negatives,
            mask,
            sample_weight,
            positive_probability,
            negative_probability,
            self.temperature,
            self.reduction,
        )


class CosineContrastive(nn.Module):
    """`cosine_contrastive` with its margin, weight and reduction.

    Args:
        margin: Below it a negative is far enough.
        negative_weight: Of the negatives' mean.
        reduction: `none`, `sum` or `mean`.

    Example:
        >>> float(CosineContrastive(margin=0.75)(torch.tensor([0.75]), torch.tensor([[1.0, 0.0]])))
        0.375
    """

    def __init__(self, *, margin: float = 0.5, negative_weight: float = 1.0, reduction: str = "mean") -> None:
        super().__init__()
        self.margin = margin
        self.negative_weight = negative_weight
        self.reduction = reduction

    def forward(
        self,
        positive: Tensor,
        negatives: Tensor,
        mask: Tensor | None = None,
        sample_weight: Tensor | None = None,
    ) -> Tensor:
        """Compute the loss; shapes as in the function."""
        return cosine_contrastive(
            positive, negatives, mask, sample_weight, self.margin, self.negative_weight, self.reduction
        )


def _check_temperature(temperature: float) -> None:
    if not temperature > 0:
        raise ValueError(f"temperature is {temperature}; give a number above 0")


def _check(positive: Tensor, negatives: Tensor, mask: Tensor | None) -> None:
    if negatives.dim() != positive.dim() + 1 or list(negatives.shape)[:-1] != list(positive.shape):
        raise ValueError(
            f"negatives {list(negatives.shape)} need the shape of the positive, {list(positive.shape)}, "
            "and one dimension more"
        )
    if mask is not None and mask.shape != negatives.shape:
        raise ValueError(f"mask {list(mask.shape)} and negatives {list(negatives.shape)} need the same shape")


def _masked_mean(values: Tensor, mask: Tensor | None) -> Tensor:
    if mask is None:
        return values.mean(-1)
    kept = values.masked_fill(torch.logical_not(mask), 0.0)
    return kept.sum(-1) / mask.sum(-1).clamp(min=1)


def _weigh(losses: Tensor, sample_weight: Tensor | None, reduction: str) -> Tensor:
    if sample_weight is not None:
        losses = losses * _spread(sample_weight, losses).to(losses.dtype)
    return reduce(losses, reduction)


def _spread(weights: Tensor, losses: Tensor) -> Tensor:
    if weights.dim() == 0 or weights.shape == losses.shape:
        return weights
    if weights.dim() == 2 and weights.size(0) == losses.size(0) and weights.size(1) == 1:
        return weights.squeeze(1) if losses.dim() == 1 else weights
    raise ValueError(
        f"sample_weight has shape {list(weights.shape)} for losses of {list(losses.shape)}; "
        "give a scalar, one a row or one a loss"
    )
