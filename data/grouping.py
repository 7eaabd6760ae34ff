"""Rows in the order of their users, and each user's in the order of time, a part of the rows at a time."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from torchtowers.data.mapped import ROWS_AT_ONCE, mapped, spans
from torchtowers.data.permutation import Permutation

__all__ = ["blocks", "group", "group_in_time", "places"]


def group(users: NDArray[np.int64], count: int, order: Permutation | None = None) -> NDArray[np.int64]:
    """Sort rows by their user; a user's rows stay in the order that they had.

    Args:
        users: Each row's user, int64 `[rows]`.
        count: Number of users.
        order: The order in which the rows are taken; their own if not given.

    Returns:
        Row numbers, int64 `[rows]`.
    """
    counts = np.bincount(users, minlength=count)
    ends = np.cumsum(counts) - counts
    grouped = mapped(len(users), np.int64)
    for first, last in spans(len(users)):
        rows = np.arange(first, last) if order is None else order.between(first, last)
        rows = rows[np.argsort(users[rows], kind="stable")]
        owners = users[rows]
        present = np.bincount(owners, minlength=count)
        begins = np.cumsum(present) - present
        grouped[ends[owners] + np.arange(len(rows)) - begins[owners]] = rows
        ends += present
    return grouped


def group_in_time(users: NDArray[np.int64], count: int, times: NDArray[np.int64] | None) -> NDArray[np.int64]:
    """Sort rows by their user and then by time; rows of the same time stay in the order that they had.

    Args:
        users: Each row's user, int64 `[rows]`.
        count: Number of users.
        times: Each row's time, int64 `[rows]`; None leaves a user's rows as they are.

    Returns:
        Row numbers, int64 `[rows]`.
    """
    order = group(users, count)
    if times is not None:
        for first, last in blocks(np.bincount(users, minlength=count)):
            rows = order[first:last].copy()
            order[first:last] = rows[np.lexsort((times[rows], users[rows]))]
    return order


def blocks(counts: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Give where parts of grouped rows begin and end, of whole users and of about `ROWS_AT_ONCE` rows."""
    ends = np.cumsum(counts)
    first = 0
    while len(ends) and first < ends[-1]:
        # At least one user's rows, however many they are.
        fitting = int(np.searchsorted(ends, first + ROWS_AT_ONCE, side="right"))
        last = int(ends[max(fitting - 1, int(np.searchsorted(ends, first, side="right")))])
        yield first, last
        first = last


def places(
    owners: NDArray[np.int64], first: int, counts: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Give each row's place among its user's rows, and how many these are.

    Args:
        owners: The users of a part of the grouped rows, int64 `[part]`.
        first: Where the part begins.
        counts: Rows of each user, int64 `[users]`.
    """
    begins = np.cumsum(counts) - counts
    return np.arange(first, first + len(owners)) - begins[owners], counts[owners]
