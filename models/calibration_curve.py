"""How high labels are where predictions are low, middling and high."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["calibration_curve"]


def calibration_curve(
    predictions: NDArray[np.floating], labels: NDArray[np.number], bins: int = 10
) -> list[dict[str, float]]:
    """Give the mean prediction and the mean label of bins of equally many predictions, lowest first.

    Args:
        predictions: `[pairs]`.
        labels: `[pairs]`, on the same scale.
        bins: How many; fewer come, if there are fewer different predictions.

    Returns:
        `predicted`, `observed` and `count` of each bin.

    Example:
        >>> calibration_curve(np.array([0.1, 0.2, 0.8, 0.9]), np.array([0, 0, 1, 0]), bins=2)[1]
        {'predicted': 0.85, 'observed': 0.5, 'count': 2}
    """
    # Equal predictions belong into one bin, whatever their order.
    borders = np.unique(np.quantile(predictions, np.linspace(0, 1, bins + 1)[1:-1], method="higher"))
    places = np.searchsorted(borders, predictions, side="right")
    found = []
    for place in np.unique(places):
        chosen = places == place
        found.append(
            {
                "predicted": round(float(predictions[chosen].mean()), 6),
                "observed": round(float(labels[chosen].mean()), 6),
                "count": int(chosen.sum()),
            }
        )
    return found
