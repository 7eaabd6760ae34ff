"""Pairs of a user and an item in the order of their users, to find those of some."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["PairsByUser", "flat_ranges"]


class PairsByUser:
    """A sparse matrix of users and items by its rows.

    Args:
        users: int64 `[pairs]`.
        items: int64 `[pairs]`.
        unique: Whether a pair that comes several times counts once; a user's items then ascend.
    """

    def __init__(self, users: NDArray[np.int64], items: NDArray[np.int64], *, unique: bool = False) -> None:
        if unique and len(users):
            cells = np.unique(users * (items.max() + 1) + items)
            self.users, self.items = np.divmod(cells, items.max() + 1)
        else:
            order = np.argsort(users, kind="stable")
            self.users, self.items = users[order], items[order]

    def __len__(self) -> int:
        return len(self.users)

    def lengths(self, users: NDArray[np.int64]) -> NDArray[np.int64]:
        """Count the pairs of these users; int64 `[users]`."""
        begins, ends = self._bounds(users)
        return ends - begins

    def pairs(self, users: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Give for each pair of these users the user's place among them, and the item.

        Example:
            >>> places, items = PairsByUser(np.array([7, 5, 7]), np.array([1, 2, 3])).pairs(np.array([7]))
            >>> places.tolist(), items.tolist()
            ([0, 0], [1, 3])
        """
        begins, ends = self._bounds(users)
        places = np.repeat(np.arange(len(users)), ends - begins)
        return places, self.items[flat_ranges(begins, ends)]

    def _bounds(self, users: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        begins, ends = (np.searchsorted(self.users, users, side) for side in ("left", "right"))
        return begins, ends


def flat_ranges(begins: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.int64]:
    """Give the numbers of several ranges, one after the other.

    Example:
        >>> flat_ranges(np.array([3, 0]), np.array([5, 2])).tolist()
        [3, 4, 0, 1]
    """
    lengths = ends - begins
    shifts: NDArray[np.int64] = np.repeat(begins - (lengths.cumsum() - lengths), lengths)
    return shifts + np.arange(len(shifts))
