"""The item-kNN baseline: what is most similar to the user's items, by the users that they share."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from torchtowers.models.cooccurrence import Cooccurrence
from torchtowers.models.evaluation import Scorer
from torchtowers.models.pairs_by_user import PairsByUser, flat_ranges

__all__ = ["fit_item_knn"]


def fit_item_knn(pairs: PairsByUser, items: int, settings: Sequence[tuple[int, float]]) -> list[Scorer]:
    """Fit an item-kNN with each of several settings.

    An item's similarity to another is `common / (sqrt(users * users') + shrinkage)`; it keeps its most
    similar ones, and scores the sum of its similarities to those of them that the user has.

    Source: Sarwar et al. 2001, with the shrinkage of Bell & Koren 2007.

    Args:
        pairs: Unique pairs of a user and an item.
        items: Size of the catalogue.
        settings: Numbers of neighbours, each with a shrinkage.

    Returns:
        A scorer for each setting.
    """
    common = Cooccurrence(pairs, items)
    norms = np.sqrt(np.bincount(pairs.items, minlength=items).astype(np.float64))
    kept: list[list[tuple[NDArray[np.int64], NDArray[np.float32]]]] = [[] for _ in settings]
    for item in range(items):
        row = common.row(item)
        row[item] = 0
        near = np.flatnonzero(row)
        for (neighbours, shrinkage), found in zip(settings, kept, strict=True):
            similar = (row[near] / (norms[item] * norms[near] + shrinkage)).astype(np.float32)
            if len(near) > neighbours:
                best = np.argpartition(-similar, neighbours - 1)[:neighbours]
                found.append((near[best], similar[best]))
            else:
                found.append((near, similar))
    return [_scorer(pairs, items, found) for found in kept]


def _scorer(
    pairs: PairsByUser, items: int, found: Sequence[tuple[NDArray[np.int64], NDArray[np.float32]]]
) -> Scorer:
    targets = np.repeat(np.arange(items), [len(near) for near, _ in found])
    sources = np.concatenate([near for near, _ in found])
    weights = np.concatenate([similar for _, similar in found])
    order = np.argsort(sources, kind="stable")
    targets, weights = targets[order], weights[order]
    offsets = np.zeros(items + 1, dtype=np.int64)
    np.cumsum(np.bincount(sources, minlength=items), out=offsets[1:])

    def score(users: NDArray[np.int64]) -> NDArray[np.float32]:
        rows, had = pairs.pairs(users)
        begins, ends = offsets[had], offsets[had + 1]
        chosen = flat_ranges(begins, ends)
        cells = np.repeat(rows, ends - begins) * items + targets[chosen]
        sums = np.bincount(cells, weights[chosen], minlength=len(users) * items)
        return sums.reshape(len(users), items).astype(np.float32)

    return score
