"""Log loss over what the base rate alone would cost."""

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from torchtowers.models.pointwise_losses import binary_cross_entropy, binary_cross_entropy_with_logits

__all__ = ["NormalizedEntropy"]


class NormalizedEntropy(Metric):
    """Mean log loss of predicted clicks, over the entropy of the share of clicks; less is better.

    1 is what predicting that share for everything gives, whatever it is, so that data sets with other shares
    of clicks compare. Results of several ranks are summed.

    Source: He et al. 2014 (Practical Lessons from Predicting Clicks on Ads at Facebook).

    Args:
        from_logits: Whether predictions are logits instead of probabilities.
        **kwargs: Those of `torchmetrics.Metric`.

    Example:
        >>> metric = NormalizedEntropy()
        >>> metric.update(torch.tensor([0.5, 0.5, 0.5]), torch.tensor([1, 0, 1]))
        >>> round(float(metric.compute()), 4)  # log(2) / 0.6365
        1.089
    """

    is_differentiable = False
    higher_is_better = False
    full_state_update = False

    loss: Tensor
    positives: Tensor
    weight: Tensor

    def __init__(self, *, from_logits: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.from_logits = from_logits
        for name in ("loss", "positives", "weight"):
            self.add_state(name, torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, predictions: Tensor, labels: Tensor, sample_weight: Tensor | None = None) -> None:
        """Take in a batch.

        Args:
            predictions: `[batch]` or `[batch, 1]`.
            labels: `[batch]` or `[batch, 1]`; 0 to 1.
            sample_weight: `[batch]` or `[batch, 1]`.

        Raises:
            ValueError: Shapes that do not match.
        """
        loss = binary_cross_entropy_with_logits if self.from_logits else binary_cross_entropy
        losses = loss(predictions.detach(), labels, reduction="none").double()
        weights = torch.ones_like(losses)
        if sample_weight is not None:
            count = len(losses)
            if sample_weight.shape not in ((count,), (count, 1)):
                raise ValueError(
                    f"sample_weight has to be [{count}] or [{count}, 1], as the predictions, "
                    f"got {list(sample_weight.shape)}"
                )
            weights = sample_weight.detach().reshape(losses.shape).to(losses)
        self.loss += losses @ weights
        self.positives += labels.detach().reshape(losses.shape).to(losses) @ weights
        self.weight += weights.sum()

    def compute(self) -> Tensor:
        """Compute the ratio, a scalar; NaN if nothing was counted or all labels are alike."""
        share = self.positives / self.weight
        entropy = -(torch.xlogy(share, share) + torch.xlogy(1 - share, 1 - share))
        ratio = self.loss / self.weight / entropy
        return ratio.masked_fill(entropy <= 0, torch.nan).float()
