"""AUC within each user's own impressions; GAUC."""

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

__all__ = ["PerUserAUC"]


class PerUserAUC(Metric):
    """Mean over users of the area under each one's ROC curve, weighted by the number of impressions.

    Unlike the AUC of all impressions (`torchmetrics.classification.BinaryAUROC`), it can't be raised by
    telling active users from others, only by ranking within a user. Users whose labels are all alike are left
    out; equal predictions count half. Impressions of a user may be spread over batches and ranks, so that all
    are kept until `reset`: 13 bytes each.

    Source: Zhu et al. 2017 (Optimized Cost per Click in Taobao Display Advertising), GAUC.

    Args:
        **kwargs: Those of `torchmetrics.Metric`.

    Example:
        >>> metric = PerUserAUC()
        >>> predictions, labels = torch.tensor([0.9, 0.1, 0.8, 0.3, 0.2]), torch.tensor([1, 0, 0, 1, 0])
        >>> metric.update(predictions, labels, users=torch.tensor([7, 7, 8, 8, 8]))
        >>> round(float(metric.compute()), 4)  # (2 * 1 + 3 * 0.5) / 5
        0.7
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    predictions: list[Tensor]
    labels: list[Tensor]
    users: list[Tensor]

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for name in ("predictions", "labels", "users"):
            self.add_state(name, [], dist_reduce_fx="cat")

    def update(self, predictions: Tensor, labels: Tensor, users: Tensor) -> None:
        """Take in a batch of impressions.

        Args:
            predictions: `[batch]` or `[batch, 1]`; probabilities or logits, kept in single precision.
            labels: The same, 0 or 1.
            users: int64, the same; whose impression it is.

        Raises:
            ValueError: The numbers differ, a label is neither 0 nor 1, or a prediction is NaN.
        """
        predictions, labels, users = (part.detach().reshape(-1) for part in (predictions, labels, users))
        if not len(predictions) == len(labels) == len(users):
            raise ValueError(
                f"there are {len(predictions)} predictions, {len(labels)} labels and {len(users)} users"
            )
        if not ((labels == 0) | (labels == 1)).all():
            raise ValueError("labels have to be 0 or 1: say what counts as a click, such as labels >= 4")
        if predictions.isnan().any():
            raise ValueError("some predictions are NaN")
        self._keep(predictions.float(), labels.bool(), users.long())

    def sync(self, *args: Any, **kwargs: Any) -> None:
        """Gather the impressions of all ranks, as torchmetrics does before `compute`."""
        # From a rank that has none torchmetrics would send a type that the others don't expect, and abort.
        if not len(self.users):
            none = torch.empty(0, device=self.device)
            self._keep(none, none.bool(), none.long())
        super().sync(*args, **kwargs)

    def compute(self) -> Tensor:
        """Compute the weighted mean, a scalar; NaN if no user has both labels."""
        # They are lists before ranks are gathered, and tensors afterwards.
        if not len(self.users):
            return torch.tensor(torch.nan, device=self.device)
        predictions, labels, names = (
            dim_zero_cat(part) for part in (self.predictions, self.labels, self.users)
        )
        order = predictions.argsort(stable=True)
        order = order[names[order].argsort(stable=True)]
        predictions, labels, names = predictions[order], labels[order].double(), names[order]
        users, impressions = torch.unique_consecutive(names, return_inverse=True, return_counts=True)[1:]
        areas = _areas(users, impressions, _midranks(users, predictions), labels)
        weights = impressions.double().masked_fill(areas.isnan(), 0.0)
        mean: Tensor = (areas.nan_to_num() * weights).sum() / weights.sum()
        return mean.float()

    def _keep(self, predictions: Tensor, labels: Tensor, users: Tensor) -> None:
        self.predictions.append(predictions)
        self.labels.append(labels)
        self.users.append(users)


def _midranks(users: Tensor, predictions: Tensor) -> Tensor:
    """Give the rank of each in the whole order, equal ones of a user their mean rank; float64 `[batch]`."""
    new = torch.ones_like(users, dtype=torch.bool)
    new[1:] = (users[1:] != users[:-1]) | (predictions[1:] != predictions[:-1])
    begins = new.nonzero()[:, 0]
    lengths = torch.cat([begins, begins.new_tensor([len(users)])]).diff()
    return (begins + (lengths - 1).double() / 2).repeat_interleave(lengths)


def _areas(users: Tensor, impressions: Tensor, ranks: Tensor, labels: Tensor) -> Tensor:
    """Compute each user's area from the ranks of positives (Mann & Whitney 1947), NaN without both labels."""
    zeros = torch.zeros(len(impressions), dtype=torch.float64, device=labels.device)
    positives = zeros.index_add(0, users, labels)
    rank_sums = zeros.index_add(0, users, labels * ranks)
    begins = impressions.cumsum(0) - impressions
    lowest = positives * begins + positives * (positives - 1) / 2
    return (rank_sums - lowest) / (positives * (impressions - positives))
