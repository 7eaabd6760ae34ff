"""Evaluation over the whole catalogue: every item competes, none is sampled.

An interaction's place is the number of items that score higher than its own; equal scores count for it, as in
TFRS's `FactorizedTopK`, which matters for popularity only. With seen items excluded, the items that the user
has in training don't compete.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from torchtowers.data.dataset import Dataset
from torchtowers.data.interactions import Interactions
from torchtowers.models.batch_tensors import to_tensors
from torchtowers.models.catalogue_metrics import FIGURES, catalogue_figures
from torchtowers.models.coverage import CatalogueCoverage
from torchtowers.models.errors import TrainingError
from torchtowers.models.evaluation_groups import activity_groups, popularity_groups
from torchtowers.models.index import top_columns
from torchtowers.models.pairs_by_user import PairsByUser
from torchtowers.models.places import places_by_score
from torchtowers.models.retrieval_model import RetrievalModel

__all__ = [
    "RetrievalEvaluation",
    "Scorer",
    "embed_candidates",
    "evaluate",
    "evaluate_retrieval",
    "model_scorer",
    "seen_before",
]

Scorer = Callable[[NDArray[np.int64]], NDArray[np.float32]]

_USERS_AT_ONCE = 256
_ITEMS_AT_ONCE = 4096


@dataclass(frozen=True)
class RetrievalEvaluation:
    """What `evaluate_retrieval` gives.

    Attributes:
        figures: As `evaluate` gives them.
        groups: The figures of parts of the interactions, seen items excluded: `user_activity`, by the number
            of interactions that their user has in training, and `item_popularity`, by that of their item. A
            part has a `label` with its range, the number of its `users` and `interactions`, and `figures`.
    """

    figures: dict[str, float]
    groups: dict[str, list[dict[str, Any]]]


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
    return evaluate_retrieval(
        scorer, interactions, seen, accuracy_at=accuracy_at, ranking_at=ranking_at
    ).figures


def evaluate_retrieval(
    scorer: Scorer,
    interactions: Interactions,
    seen: Interactions,
    *,
    accuracy_at: Sequence[int] = (1, 5, 10, 50, 100),
    ranking_at: Sequence[int] = (10,),
) -> RetrievalEvaluation:
    """Measure a scorer, on all interactions and on groups of them; see `evaluate`.

    Raises:
        TrainingError: There is no interaction, or a score is not finite.
    """
    if not len(interactions.users):
        raise TrainingError("there are no interactions to measure by: give the split more of the data")
    ks = tuple(dict.fromkeys(accuracy_at)), tuple(dict.fromkeys(ranking_at))
    wanted = PairsByUser(interactions.users, interactions.items)
    excluded, included = _places(scorer, wanted, PairsByUser(seen.users, seen.items), ks[1])
    parts = {
        "user_activity": activity_groups(wanted.users, seen.users),
        "item_popularity": popularity_groups(wanted.items, seen.items),
    }
    return RetrievalEvaluation(
        figures={
            **excluded.figures(*ks),
            **{f"{name}/seen_included": value for name, value in included.figures(*ks).items()},
        },
        groups={
            name: [_group(label, chosen, excluded, ks) for label, chosen in groups]
            for name, groups in parts.items()
        },
    )


def _group(
    label: str, chosen: NDArray[np.bool_], places: "_Places", ks: tuple[Sequence[int], Sequence[int]]
) -> dict[str, Any]:
    part = places.take(chosen)
    users = len(np.unique(part.users))
    return {
        "label": label,
        "users": users,
        "interactions": len(part.users),
        "figures": part.figures(*ks),
    }


def _places(
    scorer: Scorer, wanted: PairsByUser, known: PairsByUser, ranking_at: Sequence[int]
) -> "tuple[_Places, _Places]":
    """Find the places of all interactions, seen items excluded and included, scoring each user once."""
    found: tuple[list[Tensor], list[Tensor]] = ([], [])
    coverages: list[CatalogueCoverage] = []
    width = 0
    users = np.unique(wanted.users)
    for first in range(0, len(users), _USERS_AT_ONCE):
        chunk = users[first : first + _USERS_AT_ONCE]
        scores = torch.tensor(scorer(chunk))
        if not scores.isfinite().all():
            raise TrainingError(
                "the model gives scores that are not finite: train it with lower learning rates"
            )
        width = scores.size(1)
        if ranking_at and not coverages:
            coverages = [CatalogueCoverage(width, ranking_at) for _ in found]
        rows, items = (torch.from_numpy(part) for part in wanted.pairs(chunk))
        for turn, places in enumerate(reversed(found)):
            if turn:
                scores[known.pairs(chunk)] = -torch.inf
            places.append(places_by_score(scores, rows, items))
            if ranking_at:
                best, columns = top_columns(scores, max(ranking_at))
                coverages[1 - turn].update(columns.masked_fill(best.isneginf(), -1))
    covered = [coverage.compute() for coverage in coverages] or [{}, {}]
    excluded, included = (
        _Places(wanted.users, wanted.items, torch.cat(places), width, figures)
        for places, figures in zip(found, covered, strict=True)
    )
    return excluded, included


@dataclass(frozen=True)
class _Places:
    """Interactions and the places of their items in their users' rankings."""

    users: NDArray[np.int64]
    items: NDArray[np.int64]
    places: Tensor
    width: int
    covered: Mapping[str, Tensor]

    def take(self, chosen: NDArray[np.bool_]) -> "_Places":
        """Give some of the interactions, of which there is no coverage."""
        places = self.places[torch.from_numpy(chosen)]
        return _Places(self.users[chosen], self.items[chosen], places, self.width, {})

    def figures(self, accuracy_at: Sequence[int], ranking_at: Sequence[int]) -> dict[str, float]:
        """Give the figures by name."""
        figures = {f"top_{k}_accuracy": float((self.places < k).double().mean()) for k in accuracy_at}
        if not ranking_at:
            return figures
        names, rows = np.unique(self.users, return_inverse=True)
        cells, interaction = torch.unique(
            torch.from_numpy(rows * self.width + self.items), return_inverse=True
        )
        places = self.places.new_empty(len(cells)).scatter_(0, interaction, self.places)
        means = catalogue_figures(places, cells // self.width, len(names), self.width, ranking_at).mean(2)
        for place, k in enumerate(ranking_at):
            for name, mean in zip(FIGURES, means[:, place], strict=True):
                figures[f"{name}@{k}"] = float(mean)
            if self.covered:
                figures[f"coverage@{k}"] = float(self.covered[f"coverage@{k}"])
        return figures


def seen_before(dataset: Dataset, part: str) -> Interactions:
    """Give what users have had when a part of the split is measured: at the test, validation is past too."""
    return dataset.train.joined(dataset.validation) if part == "test" else dataset.train


def embed_candidates(model: RetrievalModel, dataset: Dataset) -> NDArray[np.float32]:
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


def model_scorer(model: RetrievalModel, dataset: Dataset) -> Scorer:
    """Give a scorer that embeds users on demand and the catalogue once."""
    candidates = embed_candidates(model, dataset)

    def score(users: NDArray[np.int64]) -> NDArray[np.float32]:
        with torch.inference_mode():
            queries: NDArray[np.float32] = model.query_tower(to_tensors(dataset.users.take(users))).numpy()
        return queries @ candidates.T

    return score
