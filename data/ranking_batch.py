"""Batches with labels: of a ranking model, and of one that learns retrieval and ratings together."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchtowers.data.batches import Batch

__all__ = ["RankingBatch", "RatedBatch"]


@dataclass(frozen=True)
class RankingBatch:
    """Examples and what came of them.

    Args:
        features: By feature, int64 `[batch]` or `[batch, length]` as the encoders give them, or float32
            `[batch, width]` for dense ones.
        labels: Clicks or ratings, float32 `[batch]`, or `[lists, length]` with the lists' features flat, one
            list after the other.
        weight: What each example counts, float32 `[batch]`; 1 each if there is none.
        mask: Which places of the lists are examples, bool `[lists, length]`; all if there is none.
    """

    features: dict[str, NDArray[Any]]
    labels: NDArray[np.float32]
    weight: NDArray[np.float32] | None = None
    mask: NDArray[np.bool_] | None = None


@dataclass(frozen=True)
class RatedBatch:
    """Pairs of a user and the item that they chose, each with its rating.

    Args:
        pairs: The users and the items.
        ratings: Float32 `[batch]`.
    """

    pairs: Batch
    ratings: NDArray[np.float32]
