"""What is liked most, for everyone: the baseline that knows nobody, and what is said of the unknown."""

import numpy as np
from numpy.typing import NDArray

from torchtowers.data.interactions import Interactions
from torchtowers.models.evaluation import Scorer

__all__ = ["backed_by_popularity", "popularity_scorer"]


def popularity_scorer(train: Interactions, items: int) -> Scorer:
    """Give a scorer that ranks by the number of training interactions: the floor for every model.

    Args:
        train: Interactions to count.
        items: Size of the catalogue.
    """
    counts = np.bincount(train.items, minlength=items).astype(np.float32)

    def score(users: NDArray[np.int64]) -> NDArray[np.float32]:
        return np.tile(counts, (len(users), 1))

    return score


def backed_by_popularity(scorer: Scorer, train: Interactions, items: int) -> Scorer:
    """Give a scorer that ranks what another scores 0, since it knows nothing of it, last and by popularity.

    Without that, a user who has nothing in training would have all items at the first place.

    Args:
        scorer: The other one.
        train: Interactions to count.
        items: Size of the catalogue.
    """
    counts = np.bincount(train.items, minlength=items)
    ranks = np.empty(items, dtype=np.float32)
    ranks[np.argsort(counts, kind="stable")] = np.arange(items) / items

    def score(users: NDArray[np.int64]) -> NDArray[np.float32]:
        scores = scorer(users)
        below = scores.min(1, keepdims=True, initial=0) - 1
        return np.where(scores == 0, below + ranks, scores)

    return score
