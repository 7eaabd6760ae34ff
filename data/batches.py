"""Training examples in batches of encoded features."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from torchtowers.data.dataset import Dataset
from torchtowers.data.shuffled_batches import ShuffledBatches

__all__ = ["Batch", "Batches", "parts_of"]


@dataclass(frozen=True)
class Batch:
    """Pairs of a user and the item that they chose.

    Args:
        query: The query tower's inputs, by feature int64 `[batch]` or `[batch, length]`.
        candidate: The candidate tower's inputs, likewise.
        items: Each pair's item as a row of the catalogue, int64 `[batch]`.
        probability: How likely an item is to be drawn into a batch: its part of the training pairs,
            float32 `[batch]`; without it, the loss is not corrected for the items' popularity.
        users: Each pair's user as a row of its table, int64 `[batch]`; needed where the loss looks for users
            that are drawn twice.
    """

    query: dict[str, NDArray[np.int64]]
    candidate: dict[str, NDArray[np.int64]]
    items: NDArray[np.int64]
    probability: NDArray[np.float32] | None = None
    users: NDArray[np.int64] | None = None


class Batches(ShuffledBatches[Batch]):
    """The training pairs of a data set, shuffled anew each epoch by the seed and the epoch's number.

    Args:
        dataset: Encoded users, items and training pairs.
        batch_size: Pairs a batch; a last incomplete batch is left out where there is a complete one,
            since its in-batch negatives would be fewer.
        seed: Of the shuffles.

    Raises:
        ValueError: There is no training pair, or `batch_size` is below 1.
    """

    def __init__(self, dataset: Dataset, batch_size: int, seed: int) -> None:
        super().__init__(len(dataset.train), batch_size, seed, drop_last=True)
        self._dataset = dataset
        self._probability = parts_of(dataset.train.items, len(dataset.items))

    def take(self, rows: NDArray[np.int64]) -> Batch:
        """Make a batch of some training pairs, int64 `[batch]`."""
        chosen = self._dataset.train.take(rows)
        candidate = self._dataset.items.take(chosen.items)
        probability = self._probability[chosen.items]
        return Batch(self._dataset.query(chosen), candidate, chosen.items, probability, chosen.users)


def parts_of(items: NDArray[np.int64], count: int = 0) -> NDArray[np.float32]:
    """Give each item's part of the pairs.

    Args:
        items: Each pair's item, int64 `[pairs]`.
        count: Number of items; if not given, the pairs' largest decides.

    Returns:
        `[items]`, the sampling probability of `Batch`.
    """
    return (np.bincount(items, minlength=count) / len(items)).astype(np.float32)
