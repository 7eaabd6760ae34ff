"""Shuffled row numbers, which take no memory of the size of the data."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["Permutation"]

# Below this many rows a permutation is drawn as an array: 32 MB at most.
_ARRAY_BELOW = 4_000_000
_ROUNDS = 8


class Permutation:
    """The numbers from 0 to `rows` in an order that follows from the seed.

    Up to four million, numpy's generator shuffles them. More are permuted by a Feistel network (Luby and
    Rackoff 1988) over the next power of two, walked until a number is in range (Black and Rogaway 2002): each
    place of the order is computed by itself.

    Args:
        rows: How many.
        seed: Of the order.

    Example:
        >>> sorted(Permutation(5, seed=1).between(0, 5).tolist())
        [0, 1, 2, 3, 4]
    """

    def __init__(self, rows: int, seed: int | Sequence[int]) -> None:
        self._rows = rows
        generator = np.random.default_rng(seed)
        self._order = generator.permutation(rows) if rows < _ARRAY_BELOW else None
        bits = max((rows - 1).bit_length(), 2)
        self._low_bits = np.uint64(bits // 2)
        self._low = np.uint64((1 << (bits // 2)) - 1)
        self._high = np.uint64((1 << (bits - bits // 2)) - 1)
        self._keys = generator.integers(0, 2**64, _ROUNDS, dtype=np.uint64)

    def __len__(self) -> int:
        return self._rows

    def between(self, first: int, last: int) -> NDArray[np.int64]:
        """Give the numbers at places from `first` to before `last`, int64."""
        if self._order is not None:
            return self._order[first:last]
        places = np.arange(first, min(last, self._rows), dtype=np.uint64)
        outside = np.arange(len(places))
        while len(outside):
            places[outside] = self._permuted(places[outside])
            outside = outside[places[outside] >= np.uint64(self._rows)]
        return places.astype(np.int64)

    def _permuted(self, places: NDArray[np.uint64]) -> NDArray[np.uint64]:
        low, high = places & self._low, places >> self._low_bits
        for first, second in zip(self._keys[::2], self._keys[1::2], strict=True):
            high ^= _mixed(low ^ first) & self._high
            low ^= _mixed(high ^ second) & self._low
        return (high << self._low_bits) | low


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Mix the bits as SplitMix64 does (Steele, Lea and Flood 2014)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
