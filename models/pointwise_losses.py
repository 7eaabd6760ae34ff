"""Pointwise losses: each prediction against its own label. The numbers are those of Keras 2, which TFRS uses.

All functions have one signature; the classes carry the reduction, under the names of Keras.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from torchtowers.models.reduction import reduce

__all__ = [
    "BinaryCrossentropy",
    "MeanSquaredError",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "mean_squared_error",
]


def binary_cross_entropy(
    scores: Tensor,
    labels: Tensor,
    mask: Tensor | None = None,
    sample_weight: Tensor | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Cross-entropy of probabilities (Keras `BinaryCrossentropy`).

    As in Keras 2, probabilities are clipped to [1e-7, 1 - 1e-7], and there the gradient is 0.

    Args:
        scores: Probabilities, `[batch]`, `[batch, 1]` or `[batch, outputs]`; a row's loss is the mean of its
            outputs.
        labels: The same shape, or the other of `[batch]` and `[batch, 1]`; 0 to 1.
        mask: Bool, a scalar, `[batch]`, `[batch, 1]` or the shape of the scores; false ones cost nothing.
        sample_weight: The shapes of the mask.
        reduction: `none`, `sum` or `mean` over the rows; the mean divides by their number, whatever their
            weights and masked ones included.

    Returns:
        A scalar; `[batch]` for `none`.

    Raises:
        ValueError: Shapes that do not match, an unknown reduction.

    Example:
        >>> round(float(binary_cross_entropy(torch.tensor([0.5, 0.9]), torch.tensor([0, 1]))), 4)
        0.3993
    """
    # In half precision 1 - 1e-7 is 1.
    wide = scores if scores.dtype == torch.float64 else scores.float()
    scores_2d, labels_2d = _as_rows(wide, labels, mask)
    epsilon = 1e-7
    clipped = scores_2d.clamp(epsilon, 1 - epsilon)
    losses = -(labels_2d * torch.log(clipped + epsilon) + (1 - labels_2d) * torch.log(1 - clipped + epsilon))
    return _reduce_rows(losses, mask, sample_weight, reduction)


def binary_cross_entropy_with_logits(
    scores: Tensor,
    labels: Tensor,
    mask: Tensor | None = None,
    sample_weight: Tensor | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Cross-entropy of the sigmoid of the scores (Keras `BinaryCrossentropy(from_logits=True)`).

    Arguments, result and errors are those of `binary_cross_entropy`; the scores are logits.

    Example:
        >>> round(float(binary_cross_entropy_with_logits(torch.zeros(2), torch.tensor([0, 1]))), 4)
        0.6931
    """
    scores_2d, labels_2d = _as_rows(scores, labels, mask)
    losses = F.binary_cross_entropy_with_logits(scores_2d, labels_2d, reduction="none")
    return _reduce_rows(losses, mask, sample_weight, reduction)


def mean_squared_error(
    scores: Tensor,
    labels: Tensor,
    mask: Tensor | None = None,
    sample_weight: Tensor | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Squared error (Keras `MeanSquaredError`).

    Arguments, result and errors are those of `binary_cross_entropy`; scores and labels are any numbers.

    Example:
        >>> float(mean_squared_error(torch.tensor([3.0, 5.0]), torch.tensor([4, 2])))
        5.0
    """
    scores_2d, labels_2d = _as_rows(scores, labels, mask)
    errors = scores_2d - labels_2d
    return _reduce_rows(errors * errors, mask, sample_weight, reduction)


class BinaryCrossentropy(nn.Module):
    """`binary_cross_entropy` with its reduction, spelt as in Keras.

    Args:
        from_logits: Whether the scores are logits instead of probabilities.
        reduction: `none`, `sum` or `mean` over the rows.

    Example:
        >>> round(float(BinaryCrossentropy(from_logits=True)(torch.zeros(1), torch.ones(1))), 4)
        0.6931
    """

    def __init__(self, *, from_logits: bool = False, reduction: str = "mean") -> None:
        super().__init__()
        self.from_logits = from_logits
        self.reduction = reduction

    def forward(
        self, scores: Tensor, labels: Tensor, mask: Tensor | None = None, sample_weight: Tensor | None = None
    ) -> Tensor:
        """Compute the loss; shapes as in `binary_cross_entropy`."""
        if self.from_logits:
            return binary_cross_entropy_with_logits(scores, labels, mask, sample_weight, self.reduction)
        return binary_cross_entropy(scores, labels, mask, sample_weight, self.reduction)


class MeanSquaredError(nn.Module):
    """`mean_squared_error` with its reduction.

    Args:
        reduction: `none`, `sum` or `mean` over the rows.

    Example:
        >>> float(MeanSquaredError(reduction="sum")(torch.tensor([3.0, 5.0]), torch.tensor([4, 2])))
        10.0
    """

    def __init__(self, *, reduction: str = "mean") -> None:
        super().__init__()
        self.reduction = reduction

    def forward(
        self, scores: Tensor, labels: Tensor, mask: Tensor | None = None, sample_weight: Tensor | None = None
    ) -> Tensor:
        """Compute the loss; shapes as in `binary_cross_entropy`."""
        return mean_squared_error(scores, labels, mask, sample_weight, self.reduction)


def _as_rows(scores: Tensor, labels: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Bring both to `[batch, outputs]` in the scores' type; `[batch]` never spreads to `[batch, batch]`."""
    rows = scores.unsqueeze(1) if scores.dim() == 1 else scores
    targets = labels.unsqueeze(1) if labels.dim() == 1 else labels
    if rows.dim() != 2 or rows.shape != targets.shape:
        raise ValueError(
            f"labels {list(labels.shape)} and scores {list(scores.shape)} need the same shape, "
            "[batch] or [batch, outputs]"
        )
    targets = targets.to(scores.dtype)
    if mask is not None:
        # Here too, since the gradient of a masked NaN would be NaN.
        ignored = torch.logical_not(_spread(mask, rows, "mask"))
        return rows.masked_fill(ignored, 0.0), targets.masked_fill(ignored, 0.0)
    return rows, targets


def _spread(values: Tensor, rows: Tensor, name: str) -> Tensor:
    """Bring a scalar, `[batch]`, `[batch, 1]` or `[batch, outputs]` to the shape of the rows."""
    spread = values.unsqueeze(1) if values.dim() == 1 else values
    if spread.dim() == 0 or spread.shape == rows.shape or list(spread.shape) == [rows.size(0), 1]:
        return spread.expand_as(rows)
    raise ValueError(
        f"{name} has shape {list(values.shape)} for predictions of {list(rows.shape)}; "
        "give a scalar, one a row or one a prediction"
    )


def _reduce_rows(losses: Tensor, mask: Tensor | None, sample_weight: Tensor | None, reduction: str) -> Tensor:
    if sample_weight is not None:
        losses = losses * _spread(sample_weight, losses, "sample_weight").to(losses.dtype)
    if mask is not None:
        losses = losses.masked_fill(torch.logical_not(_spread(mask, losses, "mask")), 0.0)
    return reduce(losses.mean(1), reduction)
