"""Lists of different lengths in two flat arrays."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Ragged"]


@dataclass(frozen=True)
class Ragged:
    """Lists of indices or of weights, one a row.

    Args:
        values: int64 or float32 `[sum of lengths]`.
        offsets: int64 `[rows + 1]`.
    """

    values: NDArray[Any]
    offsets: NDArray[np.int64]

    @classmethod
    def of(cls, lists: Iterable[ArrayLike], dtype: type[np.generic] = np.int64) -> "Ragged":
        """Flatten lists."""
        rows = [np.asarray(row, dtype=dtype) for row in lists]
        offsets = np.zeros(len(rows) + 1, dtype=np.int64)
        np.cumsum([len(row) for row in rows], out=offsets[1:])
        return cls(np.concatenate(rows) if rows else np.empty(0, dtype=dtype), offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> NDArray[Any]:
        return self.values[self.offsets[row] : self.offsets[row + 1]]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """int64 `[rows]`."""
        return np.diff(self.offsets)

    def last(self, length: int) -> "Ragged":
        """Keep the last `length` values of each row."""
        begins = np.maximum(self.offsets[:-1], self.offsets[1:] - length)
        return self.ranges(begins, self.offsets[1:])

    def ranges(self, begins: NDArray[np.int64], ends: NDArray[np.int64]) -> "Ragged":
        """Give ranges of `values` as lists."""
        offsets = np.zeros(len(begins) + 1, dtype=np.int64)
        np.cumsum(ends - begins, out=offsets[1:])
        places = np.repeat(begins - offsets[:-1], ends - begins) + np.arange(offsets[-1])
        return Ragged(self.values[places], offsets)

    def take(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Give some rows as `[len(rows), length]`, padded with 0 to the longest and to at least 1."""
        return self.between(self.offsets[rows], self.offsets[rows + 1])

    def between(self, begins: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[Any]:
        """Give ranges of `values` as `[ranges, length]`, padded with 0 to the longest, at least 1."""
        lengths = ends - begins
        positions = np.arange(max(int(lengths.max(initial=0)), 1))
        present = positions < lengths[:, None]
        padded = np.zeros(present.shape, dtype=self.values.dtype)
        padded[present] = self.values[(begins[:, None] + positions)[present]]
        return padded
