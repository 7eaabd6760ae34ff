"""Rows in batches, shuffled anew each epoch by the seed and the epoch's number."""

from collections.abc import Iterator
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from torchtowers.data.permutation import Permutation

__all__ = ["ShuffledBatches"]

T = TypeVar("T")


class ShuffledBatches(Generic[T]):
    """Gives each epoch's batches, the same ones at each call; override `take`.

    Where a batch depends on its step too, override `epoch`, with `steps`.

    Args:
        rows: Number of examples.
        batch_size: Rows a batch; all of them where there are fewer.
        seed: Of the shuffles.
        drop_last: Whether a last incomplete batch is left out.

    Raises:
        ValueError: There is no row, or `batch_size` is below 1.

    Example:
        >>> class Words(ShuffledBatches[list[str]]):
        ...     def take(self, rows):
        ...         return [["one", "two", "three"][row] for row in rows]
        >>> words = Words(3, batch_size=2, seed=0)
        >>> list(words.epoch(0)) == list(words.epoch(0))
        True
        >>> list(words.epoch(0, first=1)) == list(words.epoch(0))[1:]
        True
    """

    def __init__(self, rows: int, batch_size: int, seed: int, *, drop_last: bool = False) -> None:
        if rows < 1:
            raise ValueError("there is no row to make batches of")
        if batch_size < 1:
            raise ValueError(f"batch_size has to be at least 1, got {batch_size}")
        self._rows = rows
        self._size = min(batch_size, rows)
        self._seed = seed
        self._drop_last = drop_last

    def __len__(self) -> int:
        """Batches an epoch."""
        return self._rows // self._size if self._drop_last else -(-self._rows // self._size)

    @property
    def batch_size(self) -> int:
        """Rows a batch; the last one may hold fewer."""
        return self._size

    def epoch(self, number: int, first: int = 0) -> Iterator[T]:
        """Give an epoch's batches, from batch `first` on."""
        for _, rows in self.steps(number, first):
            yield self.take(rows)

    def steps(self, number: int, first: int = 0) -> Iterator[tuple[int, NDArray[np.int64]]]:
        """Give an epoch's steps, from step `first` on, each with its rows, int64 `[batch]`."""
        order = Permutation(self._rows, [self._seed, number])
        for step in range(first, len(self)):
            yield step, order.between(step * self._size, (step + 1) * self._size)

    def take(self, rows: NDArray[np.int64]) -> T:
        """Make a batch of some rows, int64 `[batch]`."""
        raise NotImplementedError
