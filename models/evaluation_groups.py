"""Interactions in groups: by how active their user is, and by how popular their item is."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["activity_groups", "popularity_groups"]

Groups = list[tuple[str, NDArray[np.bool_]]]

_GROUPS = 4


def activity_groups(users: NDArray[np.int64], trained: NDArray[np.int64]) -> Groups:
    """Divide interactions by the number that their user has in training, about as many users in each.

    Args:
        users: int64 `[pairs]`, of the interactions to divide.
        trained: int64, of those in training.

    Returns:
        Labels with the range, and which interactions are in it, bool `[pairs]`; fewest first.

    Example:
        >>> groups = activity_groups(np.array([0, 1]), trained=np.array([0, 1, 1, 1]))
        >>> [(label, chosen.tolist()) for label, chosen in groups]
        [('1', [True, False]), ('3', [False, True])]
    """
    counts = _counts(users, trained)
    return _groups(counts, counts[np.unique(users, return_index=True)[1]])


def popularity_groups(items: NDArray[np.int64], trained: NDArray[np.int64]) -> Groups:
    """Divide interactions by the number that their item has in training, about as many interactions in each.

    Args:
        items: int64 `[pairs]`, of the interactions to divide.
        trained: int64, of those in training.

    Returns:
        As `activity_groups`.
    """
    counts = _counts(items, trained)
    return _groups(counts, counts)


def _counts(names: NDArray[np.int64], trained: NDArray[np.int64]) -> NDArray[np.int64]:
    largest = max(int(names.max()), int(trained.max(initial=0)))
    counts: NDArray[np.int64] = np.bincount(trained, minlength=largest + 1)[names]
    return counts


def _groups(counts: NDArray[np.int64], population: NDArray[np.int64]) -> Groups:
    # What training does not know at all is a group of its own.
    known = population[population > 0]
    shares = np.linspace(0, 1, _GROUPS + 1)[1:-1]
    borders = np.quantile(known, shares, method="higher") if len(known) else known
    places = np.where(counts > 0, np.searchsorted(np.unique(borders), counts, side="right"), -1)
    found = []
    for place in np.unique(places):
        chosen = places == place
        low, high = int(counts[chosen].min()), int(counts[chosen].max())
        found.append((f"{low:,}" if low == high else f"{low:,} to {high:,}", chosen))
    return found
