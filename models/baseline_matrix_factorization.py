"""The matrix factorization baseline: implicit feedback by alternating least squares."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from torchtowers.models.evaluation import Scorer
from torchtowers.models.pairs_by_user import PairsByUser

__all__ = ["fit_implicit_als"]

_CELLS_AT_ONCE = 1 << 15


def fit_implicit_als(
    pairs: PairsByUser,
    items: int,
    *,
    dim: int = 64,
    unobserved_weight: float = 0.1,
    regularization: float = 0.01,
    sweeps: int = 10,
    seed: int = 0,
) -> Scorer:
    """Fit vectors of users and items whose product is near 1 for pairs and near 0 elsewhere.

    Source: Hu et al. 2008 (iALS), with the regularization by frequency of Rendle et al. 2022 (Revisiting the
    Performance of iALS).

    Args:
        pairs: Unique pairs of a user and an item.
        items: Size of the catalogue.
        dim: Of the vectors.
        unobserved_weight: Of 0 as the value of every cell, where 1 as that of a pair weighs 1.
        regularization: Of a vector's square, for each pair and each other cell by its weight.
        sweeps: How often both sides are solved.
        seed: Of the first vectors.
    """
    names, rows = np.unique(pairs.users, return_inverse=True)
    by_user = PairsByUser(rows, pairs.items)
    by_item = PairsByUser(pairs.items, rows)
    generator = torch.Generator().manual_seed(seed)
    candidates = torch.randn(items, dim, generator=generator) / dim**0.5 * 0.1
    queries = torch.zeros(len(names), dim)
    for _ in range(sweeps):
        queries = _solve(by_user, len(names), candidates, unobserved_weight, regularization)
        candidates = _solve(by_item, items, queries, unobserved_weight, regularization)

    def score(users: NDArray[np.int64]) -> NDArray[np.float32]:
        places = np.searchsorted(names, users).clip(max=len(names) - 1)
        found = queries[torch.from_numpy(places)]
        # Users without a pair have no vector, and like everything alike.
        found[torch.from_numpy(names[places] != users)] = 0
        scores: NDArray[np.float32] = (found @ candidates.T).numpy()
        return scores

    return score


def _solve(pairs: PairsByUser, count: int, others: Tensor, weight: float, regularization: float) -> Tensor:
    """Give the best vectors of one side, given the other's; `[count, dim]`."""
    solved = torch.zeros(count, others.size(1))
    everywhere = weight * (others.T @ others)
    identity = torch.eye(others.size(1))
    for rows, columns, mask in _chunks(pairs, count):
        vectors = others[columns] * mask[:, :, None]
        lengths = mask.sum(1)
        strength = regularization * (lengths + weight * len(others))
        systems = everywhere + vectors.mT @ vectors + strength[:, None, None] * identity
        solved[rows] = torch.cholesky_solve(vectors.sum(1)[:, :, None], torch.linalg.cholesky(systems))[
            :, :, 0
        ]
    return solved


def _chunks(pairs: PairsByUser, count: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Give rows of similar lengths together: the rows, their columns padded, and which are no padding."""
    lengths = np.bincount(pairs.users, minlength=count)
    begins = lengths.cumsum() - lengths
    order = np.argsort(lengths, kind="stable")
    order = order[lengths[order] > 0]
    first = 0
    while first < len(order):
        last = first + 1
        while last < len(order) and (last + 1 - first) * lengths[order[last]] <= _CELLS_AT_ONCE:
            last += 1
        rows = order[first:last]
        places = np.arange(lengths[rows].max())
        mask = places < lengths[rows][:, None]
        columns = pairs.items[np.where(mask, begins[rows][:, None] + places, 0)]
        yield torch.from_numpy(rows), torch.from_numpy(columns), torch.from_numpy(mask).float()
        first = last
