"""Baselines of ranking, fitted on the same training part as a model and measured in the same way."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from torchtowers.data.dataset import Dataset
from torchtowers.data.example_batches import labels_of
from torchtowers.models.bias_model import choose_biases
from torchtowers.models.ranking_evaluation import Scale, evaluate_ranking

__all__ = ["ranking_baselines"]

# The bias model is linear: as a probability, it would be sure where it is merely beyond an end of the scale.
_SURE = 0.01


def ranking_baselines(
    dataset: Dataset, *, scale: Scale, positive_from: float | None = None, ranking_at: Sequence[int] = (10,)
) -> dict[str, dict[str, float]]:
    """Fit baselines on the training part's labels, and measure them on the test part's.

    Args:
        dataset: The data of the model that they stand beside.
        scale: As in `evaluate_ranking`.
        positive_from: As in `labels_of`.
        ranking_at: As in `evaluate_ranking`.

    Returns:
        The figures of `mean`, the mean label for every pair, and of `bias`, the bias model.

    Raises:
        DataError: There are no labels.
    """
    train, test = dataset.train, dataset.test
    labels = labels_of(train, positive_from)
    # Users of later data stand behind those that training knows.
    users = max(len(dataset.users), int(test.users.max(initial=-1)) + 1)
    bias = choose_biases(train, labels, users=users, items=len(dataset.items)).predict(test.users, test.items)
    if scale == "probability":
        bias = bias.clip(_SURE, 1 - _SURE)
    predictions: dict[str, NDArray[np.float32]] = {
        "mean": np.full(len(test), labels.mean(dtype=np.float64), dtype=np.float32),
        "bias": bias,
    }
    return {
        name: evaluate_ranking(
            predicted, labels_of(test, positive_from), test.users, scale=scale, ranking_at=ranking_at
        )
        for name, predicted in predictions.items()
    }
