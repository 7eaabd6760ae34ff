"""The EASE baseline: a linear item-item model in closed form."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from torchtowers.models.cooccurrence import Cooccurrence
from torchtowers.models.evaluation import Scorer
from torchtowers.models.pairs_by_user import PairsByUser

__all__ = ["EASE_ITEMS", "fit_ease"]

# More need too much memory: three matrices of float32, 4.8 GB.
EASE_ITEMS = 20_000


def fit_ease(pairs: PairsByUser, items: int, regularizations: Sequence[float]) -> list[Scorer]:
    """Fit an EASE with each of several regularizations, which weigh like numbers of users.

    It needs up to `12 * items ** 2` bytes, and `4 * items ** 2` for each that is kept; time grows with
    `items ** 3`.

    Source: Steck 2019 (Embarrassingly Shallow Autoencoders for Sparse Data).

    Args:
        pairs: Unique pairs of a user and an item.
        items: Size of the catalogue.
        regularizations: Of the weights' squares.

    Returns:
        A scorer for each regularization.
    """
    common = Cooccurrence(pairs, items)
    gram = torch.empty(items, items)
    for item in range(items):
        gram[item] = torch.from_numpy(common.row(item))
    return [_scorer(pairs, _weights(gram, strength)) for strength in regularizations]


def _weights(gram: Tensor, regularization: float) -> Tensor:
    regular = gram.clone()
    regular.diagonal().add_(regularization)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(regular))
    weights = inverse.div_(-inverse.diagonal())
    weights.fill_diagonal_(0)
    return weights


def _scorer(pairs: PairsByUser, weights: Tensor) -> Scorer:
    def score(users: NDArray[np.int64]) -> NDArray[np.float32]:
        rows, had = pairs.pairs(users)
        begins = torch.from_numpy(np.searchsorted(rows, np.arange(len(users))))
        scores: NDArray[np.float32] = functional.embedding_bag(
            torch.from_numpy(had), weights, begins, mode="sum"
        ).numpy()
        return scores

    return score
