"""How many users two items have in common."""

import numpy as np
from numpy.typing import NDArray

from torchtowers.models.pairs_by_user import PairsByUser

__all__ = ["Cooccurrence"]


class Cooccurrence:
    """The item-item matrix of common users, by rows; what it costs grows with the squares of users' lengths.

    Args:
        pairs: Unique pairs of a user and an item.
        items: Size of the catalogue.
    """

    def __init__(self, pairs: PairsByUser, items: int) -> None:
        self._by_user = pairs
        self._by_item = PairsByUser(pairs.items, pairs.users)
        self.items = items

    def row(self, item: int) -> NDArray[np.int64]:
        """Count the users that an item shares with each; int64 `[items]`, its own place has all of its users.

        Example:
            >>> pairs = PairsByUser(np.array([0, 0, 1]), np.array([0, 2, 2]))
            >>> Cooccurrence(pairs, 3).row(2).tolist()
            [1, 0, 2]
        """
        users = self._by_item.pairs(np.array([item]))[1]
        counts: NDArray[np.int64] = np.bincount(self._by_user.pairs(users)[1], minlength=self.items)
        return counts
