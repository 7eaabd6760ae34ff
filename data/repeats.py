"""Interactions that repeat a user and an item."""

from collections.abc import Iterator
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from torchtowers.data.grouping import blocks, group
from torchtowers.data.interactions import Interactions
from torchtowers.data.mapped import Growing, mapped, spans

__all__ = ["count_repeats", "keys_of", "sorted_keys", "without_repeats"]


def count_repeats(pairs: Interactions) -> int:
    """Count the interactions whose user and item stand together in an earlier one."""
    keys = sorted_keys(pairs, int(pairs.items.max(initial=-1)) + 1)
    return sum(
        int((keys[max(first, 1) : last] == keys[max(first, 1) - 1 : last - 1]).sum())
        for first, last in spans(len(keys))
    )


def keys_of(pairs: Interactions, first: int, last: int, items: int) -> NDArray[np.int64]:
    """Give a number for each user and item together, of a part of the pairs.

    Args:
        pairs: The interactions.
        first: Where the part begins.
        last: Where it ends.
        items: A number above every item.
    """
    return pairs.users[first:last] * items + pairs.items[first:last]


def sorted_keys(pairs: Interactions, items: int) -> NDArray[np.int64]:
    """Give those of all pairs, ascending; see `keys_of`."""
    keys = mapped(len(pairs), np.int64)
    for first, last in spans(len(pairs)):
        keys[first:last] = keys_of(pairs, first, last, items)
    keys.sort()
    return keys


def without_repeats(pairs: Interactions, keep: Literal["first", "last"]) -> NDArray[np.int64]:
    """Give the rows that are left when of each user and item one interaction is kept.

    Args:
        pairs: The interactions.
        keep: The first or the last one by time; by their order where there are no times, or the same.

    Returns:
        Row numbers, int64, ascending.
    """
    repeated = mapped(len(pairs), np.bool_)
    for rows in _repeats(pairs, keep):
        repeated[rows] = True
    kept = Growing(np.int64)
    for first, last in spans(len(pairs)):
        kept.append(np.flatnonzero(~repeated[first:last]) + first)
    return kept.finish()


def _repeats(pairs: Interactions, keep: Literal["first", "last"]) -> Iterator[NDArray[np.int64]]:
    """Give the rows that are left out, some users' at a time."""
    counts = np.bincount(pairs.users)
    grouped = group(pairs.users, len(counts))
    for first, last in blocks(counts):
        rows = grouped[first:last]
        users, items = pairs.users[rows], pairs.items[rows]
        keys = (items, users) if pairs.times is None else (pairs.times[rows], items, users)
        order = np.lexsort(keys)
        rows, users, items = rows[order], users[order], items[order]
        same = (users[1:] == users[:-1]) & (items[1:] == items[:-1])
        yield rows[1:][same] if keep == "first" else rows[:-1][same]
