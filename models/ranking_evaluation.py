"""Evaluation of predictions for given pairs: how far off they are, and how well they order a user's items."""

import math
from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from torchtowers.models.calibration import Calibration
from torchtowers.models.errors import TrainingError
from torchtowers.models.normalized_entropy import NormalizedEntropy
from torchtowers.models.per_user_auc import PerUserAUC
from torchtowers.models.ranked_lists import exponential_gain
from torchtowers.models.ranking_metrics import NDCG

__all__ = ["Scale", "evaluate_ranking"]

Scale = Literal["rating", "probability", "order"]

_USERS_AT_ONCE = 4096
_LARGEST_EXPONENT = 10


def evaluate_ranking(
    predictions: NDArray[np.floating],
    labels: NDArray[np.number],
    users: NDArray[np.int64],
    *,
    scale: Scale,
    ranking_at: Sequence[int] = (10,),
) -> dict[str, float]:
    """Measure predictions.

    Args:
        predictions: `[pairs]`, on the labels' scale, or scores of which only the order counts.
        labels: `[pairs]`; ratings, or 0 and 1.
        users: int64 `[pairs]`, whose pair it is.
        scale: Of the predictions. `rating` is measured by `rmse`, `mae` and `calibration`; `probability` by
            `auc`, `per_user_auc`, `normalized_entropy` and `calibration`; `order` by `auc` and
            `per_user_auc`, if labels are 0 or 1.
        ranking_at: The ks of `ndcg@k`: how well a user's own pairs are ordered, a mean over the users whose
            labels are not all alike. Gains are `2 ** label - 1`, or the labels themselves where one is above
            10. It is measured on every scale.

    Returns:
        The figures by name. One that these labels don't define, such as the AUC of clicks only, is left out.

    Raises:
        TrainingError: There is no pair, or a prediction is not finite.
    """
    if not len(labels):
        raise TrainingError("there are no interactions to measure by: give the split more of the data")
    if not np.isfinite(predictions).all():
        raise TrainingError("the model predicts what is not finite: train it with lower learning rates")
    predicted, labelled = (
        torch.from_numpy(np.asarray(part, dtype=np.float32)) for part in (predictions, labels)
    )
    figures: dict[str, float] = {}
    if scale == "rating":
        errors = predicted.double() - labelled.double()
        figures |= {"rmse": float(errors.square().mean().sqrt()), "mae": float(errors.abs().mean())}
    elif ((labelled == 0) | (labelled == 1)).all():
        owners = torch.from_numpy(np.asarray(users, dtype=np.int64))
        # All pairs as one user's: the AUC of all.
        figures["auc"] = _area(predicted, labelled, torch.zeros_like(owners))
        figures["per_user_auc"] = _area(predicted, labelled, owners)
    if scale == "probability":
        entropy = NormalizedEntropy()
        entropy.update(predicted, labelled)
        figures["normalized_entropy"] = float(entropy.compute())
    if scale != "order":
        calibration = Calibration()
        calibration.update(predicted, labelled)
        figures["calibration"] = float(calibration.compute())
    figures |= _ndcg(predicted, labelled, users, ranking_at)
    return {name: value for name, value in figures.items() if math.isfinite(value)}


def _area(predictions: Tensor, labels: Tensor, users: Tensor) -> float:
    metric = PerUserAUC()
    metric.update(predictions, labels, users)
    return float(metric.compute())


def _ndcg(
    predictions: Tensor, labels: Tensor, users: NDArray[np.int64], ks: Sequence[int]
) -> dict[str, float]:
    gain = exponential_gain if labels.max() <= _LARGEST_EXPONENT else torch.Tensor.float
    metrics = {k: NDCG(k, gain_fn=gain) for k in ks}
    counted = False
    for scores, relevance, mask in _lists(predictions, labels, users):
        low = relevance.masked_fill(~mask, torch.inf).amin(1)
        tells = low < relevance.masked_fill(~mask, -torch.inf).amax(1)
        if tells.any():
            counted = True
            # A gain can't be negative, and one for all alike tells nothing.
            gains = (relevance - low.clamp(max=0)[:, None]) * mask
            for metric in metrics.values():
                metric.update(scores[tells], gains[tells], mask[tells])
    return {f"ndcg@{k}": float(metric.compute()) for k, metric in metrics.items()} if counted else {}


def _lists(
    predictions: Tensor, labels: Tensor, users: NDArray[np.int64]
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Give users' pairs as padded lists, some users at once: predictions, labels and which are there."""
    order = np.argsort(users, kind="stable")
    begins = np.flatnonzero(np.diff(users[order], prepend=users[order[:1]] - 1))
    ends = np.append(begins[1:], len(order))
    # Users of similar numbers together, so that little is padded.
    by_length = np.argsort(ends - begins, kind="stable")
    for first in range(0, len(by_length), _USERS_AT_ONCE):
        chunk = by_length[first : first + _USERS_AT_ONCE]
        lengths = ends[chunk] - begins[chunk]
        columns = np.arange(lengths.max())
        mask = columns < lengths[:, None]
        rows = torch.from_numpy(order[np.where(mask, begins[chunk][:, None] + columns, 0)])
        yield predictions[rows], labels[rows], torch.from_numpy(mask)
