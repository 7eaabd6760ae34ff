"""The baseline of ranking: what a user and an item give on average, and nothing about the two together."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from torchtowers.data.interactions import Interactions

__all__ = ["BiasModel", "choose_biases", "fit_biases"]

# Settings that are tried; which is best depends on how many labels a user and an item have.
_REGULARIZATIONS = (1.0, 3.0, 10.0, 30.0, 100.0)
_ROUNDS = 15
_HELD_OUT = 0.1


@dataclass(frozen=True)
class BiasModel:
    """Predicts the mean label, plus what the user's and the item's own labels differ from it.

    Args:
        mean: Of all labels.
        users: Each user's bias, float64 `[users]`; 0 of one without labels.
        items: Each item's bias, float64 `[items]`.
        lowest: The lowest label; no prediction is below it.
        highest: The highest label.
    """

    mean: float
    users: NDArray[np.float64]
    items: NDArray[np.float64]
    lowest: float
    highest: float

    def predict(self, users: NDArray[np.int64], items: NDArray[np.int64]) -> NDArray[np.float32]:
        """Predict the labels of pairs.

        Args:
            users: Rows, int64 `[pairs]`.
            items: Rows, int64 `[pairs]`.

        Returns:
            float32 `[pairs]`; a probability, where labels are 0 and 1.
        """
        scores = self.mean + self.users[users] + self.items[items]
        return scores.clip(self.lowest, self.highest).astype(np.float32)


def fit_biases(
    pairs: Interactions,
    labels: NDArray[np.float32],
    *,
    users: int,
    items: int,
    regularization: float,
    rounds: int = _ROUNDS,
) -> BiasModel:
    """Fit biases by least squares, those of the users and those of the items in turn.

    Source: Koren 2010 (Factor in the Neighbors), section 2.1.

    Args:
        pairs: Whose labels they are.
        labels: float32 `[pairs]`.
        users: How many there are.
        items: How many there are.
        regularization: Penalty on the square of a bias: as many labels as would say that it is 0.
        rounds: How often each side is fitted.

    Raises:
        ValueError: There are no labels, or `regularization` is not above 0.
    """
    if not len(labels):
        raise ValueError("there are no labels to take the mean of")
    if not regularization > 0:
        raise ValueError(f"regularization has to be above 0, got {regularization}")
    mean = float(labels.mean(dtype=np.float64))
    residuals = labels - mean
    of_users, of_items = np.zeros(users), np.zeros(items)
    users_weight = np.bincount(pairs.users, minlength=users) + regularization
    items_weight = np.bincount(pairs.items, minlength=items) + regularization
    for _ in range(rounds):
        rest = residuals - of_users[pairs.users]
        of_items = np.bincount(pairs.items, rest, items) / items_weight
        rest = residuals - of_items[pairs.items]
        of_users = np.bincount(pairs.users, rest, users) / users_weight
    return BiasModel(mean, of_users, of_items, float(labels.min()), float(labels.max()))


def choose_biases(
    pairs: Interactions, labels: NDArray[np.float32], *, users: int, items: int, seed: int = 0
) -> BiasModel:
    """Fit biases with the regularization that predicts a held out tenth of the labels best.

    Args:
        pairs: Whose labels they are, of the training part.
        labels: float32 `[pairs]`.
        users: How many there are.
        items: How many there are.
        seed: Of which labels are held out.

    Raises:
        ValueError: There are fewer than two labels.
    """
    if len(labels) < 2:
        raise ValueError(f"it takes two labels to hold one out, got {len(labels)}")
    order = np.random.default_rng(seed).permutation(len(labels))
    count = max(1, round(len(labels) * _HELD_OUT))
    held, rest = np.sort(order[:count]), np.sort(order[count:])
    to_fit, to_predict = pairs.take(rest), pairs.take(held)
    errors = []
    for regularization in _REGULARIZATIONS:
        model = fit_biases(to_fit, labels[rest], users=users, items=items, regularization=regularization)
        predicted = model.predict(to_predict.users, to_predict.items)
        errors.append(float(np.square(predicted - labels[held]).mean(dtype=np.float64)))
    best = _REGULARIZATIONS[int(np.argmin(errors))]
    return fit_biases(pairs, labels, users=users, items=items, regularization=best)
