"""Clicks that are ratings from a bound on: learnt together with the ratings, which tell more."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["ClickLine", "RatedClickLoss"]


class ClickLine(nn.Module):
    """From a predicted rating to the probability of a click, whose logit is a line.

    Args:
        mean: Of the ratings.
        deviation: Their standard deviation.
        share: Of the ratings that are clicks: the probability at the mean, to begin with.
    """

    def __init__(self, mean: float, deviation: float, share: float) -> None:
        super().__init__()
        self.mean = mean
        self.deviation = deviation
        self.intercept = nn.Parameter(torch.tensor(math.log(share / (1 - share))))
        self.slope = nn.Parameter(torch.tensor(1.0))

    def logits(self, ratings: Tensor) -> Tensor:
        """Give the logits, of any shape."""
        return self.intercept + self.slope * ((ratings - self.mean) / self.deviation)

    def forward(self, ratings: Tensor) -> Tensor:
        """Give the probabilities, of any shape."""
        return torch.sigmoid(self.logits(ratings))


class RatedClickLoss(nn.Module):
    """The squared error of a rating, in units of the ratings' variance, plus the cross-entropy of its click.

    Args:
        positive_from: Ratings from this on are clicks.
        deviation: The ratings' standard deviation.
        share: Of the ratings that are clicks.

    Raises:
        ValueError: `deviation` is not above 0, or `share` not between 0 and 1.
    """

    def __init__(self, positive_from: float, *, deviation: float, share: float) -> None:
        super().__init__()
        if not deviation > 0:
            raise ValueError(f"deviation has to be above 0, got {deviation}")
        if not 0 < share < 1:
            raise ValueError(f"share has to be between 0 and 1, got {share}")
        self.positive_from = positive_from
        self.deviation = deviation
        self.share = share

    def forward(self, ratings: Tensor, logits: Tensor, labels: Tensor) -> Tensor:
        """Compute the loss, a scalar.

        Args:
            ratings: As predicted, `[batch]`.
            logits: Of the clicks, `[batch]`.
            labels: The ratings, `[batch]`.

        Example:
            >>> loss = RatedClickLoss(4, deviation=1.0, share=0.5)
            >>> round(loss(torch.tensor([4.5]), torch.tensor([0.0]), torch.tensor([5.0])).item(), 4)
            0.9431
        """
        error = F.mse_loss(ratings, labels) / self.deviation**2
        clicks = (labels >= self.positive_from).to(logits.dtype)
        return error + F.binary_cross_entropy_with_logits(logits, clicks)
