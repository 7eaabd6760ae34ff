"""Whether predictions are as high as labels, on average."""

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

__all__ = ["Calibration"]


class Calibration(Metric):
    """Mean prediction over mean label: 1 is best, more than 1 promises too much.

    Also of use for ratings. What is off where predictions are high or low may cancel out here; in bins,
    `torchmetrics.classification.BinaryCalibrationError` tells it (expected calibration error). Results of
    several ranks are summed.

    Source: He et al. 2014 (Practical Lessons from Predicting Clicks on Ads at Facebook).

    Args:
        **kwargs: Those of `torchmetrics.Metric`.

    Example:
        >>> metric = Calibration()
        >>> metric.update(torch.tensor([0.5, 0.4]), torch.tensor([1, 0]))
        >>> round(float(metric.compute()), 4)
        0.9
    """

    is_differentiable = False
    full_state_update = False

    predicted: Tensor
    labelled: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for name in ("predicted", "labelled"):
            self.add_state(name, torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, predictions: Tensor, labels: Tensor, sample_weight: Tensor | None = None) -> None:
        """Take in a batch.

        Args:
            predictions: `[batch]` or `[batch, 1]`; probabilities or ratings, no logits.
            labels: `[batch]` or `[batch, 1]`.
            sample_weight: `[batch]` or `[batch, 1]`.

        Raises:
            ValueError: The numbers differ.
        """
        parts = [
            predictions,
            labels,
            torch.ones_like(predictions) if sample_weight is None else sample_weight,
        ]
        flat = [part.detach().reshape(-1).double() for part in parts]
        if len({len(part) for part in flat}) > 1:
            raise ValueError(
                f"there are {len(flat[0])} predictions, {len(flat[1])} labels and {len(flat[2])} weights"
            )
        self.predicted += flat[0] @ flat[2]
        self.labelled += flat[1] @ flat[2]

    def compute(self) -> Tensor:
        """Compute the ratio, a scalar; NaN if no label is above 0."""
        return (self.predicted / self.labelled).masked_fill(self.labelled <= 0, torch.nan).float()
