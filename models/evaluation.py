"""Evaluation over the whole catalogue: every item competes, none is sampled.

An interaction's rank is the number of items that score higher than its own; equal scores count for it, as in
TFRS's `FactorizedTopK`, which matters for popularity only. With seen items excluded, the items that the user
has in training don't compete. Source of NDCG: Järvelin & Kekäläinen 2002.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from torchtowers.data.dataset import Dataset, Interactions
from torchtowers.models.errors import TrainingError
from torchtowers.models.two_tower import TwoTower, to_tensors

__all__ = ["embed_candidates", "evaluate", "model_scorer", "popularity_scorer", "rank_interactions"]

Scorer = Callable[[NDArray[np.int64]], NDArray[np.float32]]

_USERS_AT_ONCE = 256
_ITEMS_AT_ONCE = 4096


def evaluate(
    scorer: Scorer,
    interactions: Interactions,
    seen: Interactions,
    *,
    accuracy_at: Sequence[int] = (1, 5, 10, 50, 100),
    ranking_at: Sequence[int] = (10,),
) -> dict[str, float]:
    """Measure a scorer.

    Args:
        scorer: Takes users' rows, int64 `[users]`, and gives the scores of all items, `[users, items]`.
        interactions: What should be ranked high.
        seen: What the users have in training.
        accuracy_at: The ks of `top_k_accuracy`, a mean over interactions.
        ranking_at: The ks of `recall@k` and `ndcg@k`, means over the users that have interactions.

    Returns:
        Each figure twice: with seen items excluded under its own name, included under `name/seen_included`.
    """
    figures = {}
    for suffix, excluded in (("", seen), ("/seen_included", None)):
        ranks = rank_interactions(scorer, interactions, excluded)
        for k in accuracy_at:
            figures[f"top_{k}_accuracy{suffix}"] = float((ranks < k).mean())
        for k in ranking_at:
            figures[f"recall@{k}{suffix}"], figures[f"ndcg@{k}{suffix}"] = _per_user(
                interactions.users, ranks, k
            )
    return figures


def rank_interactions(
    scorer: Scorer, interactions: Interactions, excluded: Interactions | None
) -> NDArray[np.int64]:
    """Give the rank of each interaction's item among all items, 0 for the first; int64 `[interactions]`.

    Args:
        scorer: See `evaluate`.
        interactions: The pairs to rank.
        excluded: Pairs whose items don't compete for their users.

    Raises:
        TrainingError: A score is not finite.
    """
    ranks = np.empty(len(interactions), dtype=np.int64)
    order = np.argsort(interactions.users, kind="stable")
    users, begins = np.unique(interactions.users[order], return_index=True)
    ends = np.append(begins[1:], len(order))
    for first in range(0, len(users), _USERS_AT_ONCE):
        chunk = slice(first, first + _USERS_AT_ONCE)
        scores = scorer(users[chunk])
        if not np.isfinite(scores).all():
            raise TrainingError(
                "the model gives scores that are not finite: train it with lower learning rates"
            )
        if excluded is not None:
            _mask(scores, users[chunk], excluded)
        for row, (begin, end) in enumerate(zip(begins[chunk], ends[chunk], strict=True)):
            pairs = order[begin:end]
            items = interactions.items[pairs]
            own = scores[row, items][:, None]
            ranks[pairs] = (scores[row] > own).sum(1)
    return ranks


def _mask(scores: NDArray[np.float32], users: NDArray[np.int64], excluded: Interactions) -> None:
    row_of = np.full(max(users.max(initial=0), excluded.users.max(initial=0)) + 1, -1, dtype=np.int64)
    row_of[users] = np.arange(len(users))
    rows = row_of[excluded.users]
    scores[rows[rows >= 0], excluded.items[rows >= 0]] = -np.inf


def _per_user(users: NDArray[np.int64], ranks: NDArray[np.int64], k: int) -> tuple[float, float]:
    """Give the means over users of Recall@k and NDCG@k."""
    _, user, totals = np.unique(users, return_inverse=True, return_counts=True)
    hit = ranks < k
    gains = np.where(hit, 1.0 / np.log2(ranks + 2.0), 0.0)
    hits = np.bincount(user, weights=hit)
    ideal = np.cumsum(1.0 / np.log2(np.arange(k) + 2.0))[np.minimum(totals, k) - 1]
    return float((hits / totals).mean()), float((np.bincount(user, weights=gains) / ideal).mean())


def embed_candidates(model: TwoTower, dataset: Dataset) -> NDArray[np.float32]:
    """Embed the whole catalogue; float32 `[items, dim]`."""
    model.eval()
    rows = np.arange(len(dataset.items))
    with torch.inference_mode():
        return np.concatenate(
            [
                model.candidate_tower(
                    to_tensors(dataset.items.take(rows[first : first + _ITEMS_AT_ONCE]))
                ).numpy()
                for first in range(0, len(rows), _ITEMS_AT_ONCE)
            ]
        )


def model_scorer(model: TwoTower, dataset: Dataset) -> Scorer:
    """Give a scorer that embeds users on demand and the catalogue once."""
    candidates = embed_candidates(model, dataset)

    def score(users: NDArray[np.int64]) -> NDArray[np.float32]:
        with torch.inference_mode():
            queries: NDArray[np.float32] = model.query_tower(to_tensors(dataset.users.take(users))).numpy()
        return queries @ candidates.T

    return score


def popularity_scorer(train: Interactions, items: int) -> Scorer:
    """Give a scorer that ranks by the number of training interactions: the floor for every model."""
    counts = np.bincount(train.items, minlength=items).astype(np.float32)

    def score(users: NDArray[np.int64]) -> NDArray[np.float32]:
        return np.tile(counts, (len(users), 1))

    return score
