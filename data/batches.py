"""Training examples in batches of encoded features."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from torchtowers.data.dataset import Dataset
from torchtowers.handlers.encoders import FIRST_TOKEN, MISSING

__all__ = ["Batch", "Batches"]


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


class Batches:
    """The training pairs of a data set, shuffled anew each epoch by the seed and the epoch's number.

    Args:
        dataset: Encoded users, items and training pairs.
        batch_size: Pairs a batch; a last incomplete batch is left out where there is a complete one,
            since its in-batch negatives would be fewer.
        seed: Of the shuffles.
    """

    def __init__(self, dataset: Dataset, batch_size: int, seed: int) -> None:
        self._dataset = dataset
        self._size = min(batch_size, len(dataset.train))
        self._seed = seed
        counts = np.bincount(dataset.train.items, minlength=len(dataset.items))
        self._probability = (counts / len(dataset.train)).astype(np.float32)

    def __len__(self) -> int:
        """Batches an epoch."""
        return len(self._dataset.train) // self._size

    @property
    def batch_size(self) -> int:
        """Pairs a batch."""
        return self._size

    def epoch(self, number: int, first: int = 0) -> Iterator[Batch]:
        """Give an epoch's batches, from batch `first` on."""
        order = np.random.default_rng([self._seed, number]).permutation(len(self._dataset.train))
        for step in range(first, len(self)):
            yield self._batch(order[step * self._size : (step + 1) * self._size])

    def _batch(self, chosen: NDArray[np.int64]) -> Batch:
        dataset = self._dataset
        users, items = dataset.train.users[chosen], dataset.train.items[chosen]
        query = dataset.users.take(users)
        if dataset.history is not None:
            # An example whose target is part of its own input teaches the tower to repeat the input.
            history = query[dataset.history]
            history[history == items[:, None] + FIRST_TOKEN] = MISSING
        return Batch(query, dataset.items.take(items), items, self._probability[items], users)
