"""Evaluation over the whole catalogue: every item competes, none is sampled.

An interaction's place is the number of items that score higher than its own; equal scores count for it, as in
TFRS's `FactorizedTopK`, which matters for popularity only. With seen items excluded, the items that the user
has in training don't compete.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from torchtowers.data.dataset import Dataset, Interactions
from torchtowers.models.batch_tensors import to_tensors
from torchtowers.models.catalogue_metrics import FIGURES, catalogue_figures
from torchtowers.models.coverage import CatalogueCoverage
from torchtowers.models.errors import TrainingError
from torchtowers.models.index import top_columns
from torchtowers.models.places import places_by_score
from torchtowers.models.two_tower import TwoTower

__all__ = ["embed_candidates", "evaluate", "model_scorer", "popularity_scorer"]

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
        ranking_at: The ks of `CatalogueMetrics`' figures, means over the users that have interactions, in
            which an item counts once for a user; and of `coverage@k`, the share of items that are among the
            first k of any of these users.

    Returns:
        Each figure twice: with seen items excluded under its own name, included under `name/seen_included`.

    Raises:
        TrainingError: There is no interaction, or a score is not finite.
    """
    if not len(interactions.users):
        raise TrainingError("there are no interactions to measure by: give the split more of the data")
    excluded, included = (_Totals(accuracy_at, ranking_at) for _ in range(2))
    wanted, known = _ByUser(interactions), _ByUser(seen)
    users = np.unique(interactions.users)
    for first in range(0, len(users), _USERS_AT_ONCE):
        chunk = users[first : first + _USERS_AT_ONCE]
        scores = torch.tensor(scorer(chunk))
        if not scores.isfinite().all():
            raise TrainingError(
                "the model gives scores that are not finite: train it with lower learning rates"
            )
        rows, items = wanted.pairs(chunk)
        included.add(scores, rows, items)
        scores[known.pairs(chunk)] = -torch.inf
        excluded.add(scores, rows, items)
    return {
        **excluded.figures(),
        **{f"{name}/seen_included": value for name, value in included.figures().items()},
    }


class _Totals:
    """Sums of the figures over chunks of users."""

    def __init__(self, accuracy_at: Sequence[int], ranking_at: Sequence[int]) -> None:
        self.accuracy_at, self.ranking_at = (tuple(dict.fromkeys(ks)) for ks in (accuracy_at, ranking_at))
        self.hits = torch.zeros(len(self.accuracy_at), dtype=torch.float64)
        self.sums = torch.zeros(len(FIGURES), len(self.ranking_at), dtype=torch.float64)
        self.interactions, self.users = 0, 0
        self.coverage: CatalogueCoverage | None = None

    def add(self, scores: Tensor, rows: Tensor, items: Tensor) -> None:
        """Add users' scores `[users, items]`, and the cells that should be high, int64 `[interactions]`."""
        places = places_by_score(scores, rows, items)
        self.interactions += len(places)
        self.hits += (places[:, None] < torch.tensor(self.accuracy_at)).sum(0)
        users, width = scores.shape
        self.users += users
        if self.ranking_at:
            cells, interaction = torch.unique(rows * width + items, return_inverse=True)
            places = places.new_empty(len(cells)).scatter_(0, interaction, places)
            self.sums += catalogue_figures(places, cells // width, users, width, self.ranking_at).sum(2)
            self.coverage = self.coverage or CatalogueCoverage(width, self.ranking_at)
            best, columns = top_columns(scores, max(self.ranking_at))
            self.coverage.update(columns.masked_fill(best.isneginf(), -1))

    def figures(self) -> dict[str, float]:
        """Give the figures by name."""
        hits = zip(self.accuracy_at, self.hits, strict=True)
        figures = {f"top_{k}_accuracy": float(count / self.interactions) for k, count in hits}
        covered = self.coverage.compute() if self.coverage else {}
        for place, k in enumerate(self.ranking_at):
            for name, total in zip(FIGURES, self.sums[:, place], strict=True):
                figures[f"{name}@{k}"] = float(total / self.users)
            figures[f"coverage@{k}"] = float(covered[f"coverage@{k}"])
        return figures


class _ByUser:
    """Interactions in the order of their users, to find those of some."""

    def __init__(self, interactions: Interactions) -> None:
        order = np.argsort(interactions.users, kind="stable")
        self.users, self.items = interactions.users[order], interactions.items[order]

    def pairs(self, users: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Give for each interaction of these users the user's place among them, and the item."""
        begins, ends = (np.searchsorted(self.users, users, side) for side in ("left", "right"))
        rows = np.repeat(np.arange(len(users)), ends - begins)
        items = np.concatenate([self.items[begin:end] for begin, end in zip(begins, ends, strict=True)])
        return torch.from_numpy(rows), torch.from_numpy(items)


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
