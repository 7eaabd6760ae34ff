"""Lists of one user's rated items, for losses over lists."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Lists", "sample_listwise"]


@dataclass(frozen=True)
class Lists:
    """Lists of rated items, each of one user.

    Args:
        users: `[lists]`.
        items: `[lists, length]`.
        ratings: `[lists, length]`.
    """

    users: NDArray[Any]
    items: NDArray[Any]
    ratings: NDArray[Any]


def sample_listwise(
    users: NDArray[Any],
    items: NDArray[Any],
    ratings: NDArray[Any],
    *,
    lists_per_user: int = 10,
    list_length: int = 10,
    seed: int = 0,
) -> Lists:
    """Draw lists from users' ratings, as TFRS's `examples.movielens.sample_listwise`.

    A list holds no rating twice, two lists of a user may share some. Users with fewer ratings than a list is
    long are left out.

    Args:
        users: Any type, `[ratings]`.
        items: `[ratings]`.
        ratings: `[ratings]`.
        lists_per_user: How many lists each user gets.
        list_length: Ratings a list.
        seed: Of the draws.

    Returns:
        The lists, those of a user one after the other, users in ascending order.

    Raises:
        ValueError: The arrays differ in length, or a number is below 1.

    Example:
        >>> import numpy as np
        >>> users, items = np.array([7, 7, 8]), np.array(["a", "b", "c"])
        >>> sample_listwise(users, items, np.array([5.0, 3.0, 1.0]), lists_per_user=1, list_length=2).users
        array([7])
    """
    if not len(users) == len(items) == len(ratings):
        raise ValueError(f"there are {len(users)} users, {len(items)} items and {len(ratings)} ratings")
    if lists_per_user < 1 or list_length < 1:
        raise ValueError(
            f"lists_per_user and list_length have to be at least 1, got {lists_per_user} and {list_length}"
        )
    order = np.argsort(users, kind="stable")
    _, begins, counts = np.unique(users[order], return_index=True, return_counts=True)
    kept = (counts >= list_length).nonzero()[0]
    random = np.random.default_rng(seed)
    chosen = [
        begins[user] + random.permutation(counts[user])[:list_length]
        for user in kept
        for _ in range(lists_per_user)
    ]
    rows = order[np.array(chosen, dtype=np.int64).reshape(-1, list_length)]
    return Lists(users[rows[:, 0]], items[rows], ratings[rows])
