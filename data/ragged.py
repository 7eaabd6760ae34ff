"""Lists of different lengths in two flat arrays."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Ragged"]


@dataclass(frozen=True)
class Ragged:
    """Lists of indices, one a row.

    Args:
        values: int64 `[sum of lengths]`.
        offsets: int64 `[rows + 1]`.
    """

    values: NDArray[np.int64]
    offsets: NDArray[np.int64]

    @classmethod
    def of(cls, lists: Iterable[ArrayLike]) -> "Ragged":
        """Flatten lists."""
        rows = [np.asarray(row, dtype=np.int64) for row in lists]
        offsets = np.zeros(len(rows) + 1, dtype=np.int64)
        np.cumsum([len(row) for row in rows], out=offsets[1:])
        return cls(np.concatenate(rows) if rows else np.empty(0, dtype=np.int64), offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> NDArray[np.int64]:
        return self.values[self.offsets[row] : self.offsets[row + 1]]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """int64 `[rows]`."""
        return np.diff(self.offsets)

    def last(self, length: int) -> "Ragged":
        """Keep the last `length` values of each row."""
        begins = np.maximum(self.offsets[:-1], self.offsets[1:] - length)
        return Ragged.of(self.values[begin:end] for begin, end in zip(begins, self.offsets[1:], strict=True))

    def take(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Give some rows as int64 `[len(rows), length]`, padded with 0 to the longest and to at least 1."""
        lengths = self.lengths[rows]
        width = max(int(lengths.max(initial=0)), 1)
        positions = np.arange(width)
        present = positions < lengths[:, None]
        padded = np.zeros((len(rows), width), dtype=np.int64)
        padded[present] = self.values[(self.offsets[rows][:, None] + positions)[present]]
        return padded
