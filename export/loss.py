"""What smaller weights and a smaller index cost: exported files against the model, on test queries."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from torchtowers.data.dataset import Dataset
from torchtowers.data.interactions import Interactions
from torchtowers.export.errors import LossError
from torchtowers.handlers.index import top_rows
from torchtowers.handlers.loading import find_served
from torchtowers.handlers.runtime import load_tower
from torchtowers.handlers.signature import Signature
from torchtowers.handlers.tower_search import TowerSearch
from torchtowers.models.batch_tensors import to_tensors
from torchtowers.models.evaluation import embed_candidates, evaluate, seen_before
from torchtowers.models.experiment import Trained
from torchtowers.models.kinds import kind_of
from torchtowers.models.pairs_by_user import PairsByUser
from torchtowers.models.retrieval_model import as_retrieval_model

__all__ = ["MAX_LOSS", "Loss", "check_loss", "ranking_loss", "retrieval_loss"]

# The share of the best ten, or of the best hundred, that may be others than the trained model's.
MAX_LOSS = 0.05

# At most so many test users are asked for, or by a ranking model, which ranks so many items for each, and by
# so many interactions its figures are measured: samples of what is more.
_QUERIES, _RANKED_QUERIES, _CANDIDATES, _MEASURED = 10_000, 256, 1_000, 100_000
_AT_ONCE = 256
_KS = (10, 100)


@dataclass(frozen=True)
class Loss:
    """Answers of the exported files compared with the trained model's.

    Args:
        queries: How many of the test part's were asked, each without the items that its user knows.
        candidates: How many each ranks.
        top_10_overlap: The share of the trained model's best 10 that are among the best 10; a mean.
        top_100_overlap: The same of 100: the index's recall@100.
        score_difference: Of what both have among the best 100, the mean difference of the scores.
        largest_score_difference: The largest one.
        trained: The trained model's figures on these queries.
        exported: The exported files' figures.
    """

    queries: int
    candidates: int
    top_10_overlap: float
    top_100_overlap: float
    score_difference: float
    largest_score_difference: float
    trained: Mapping[str, float]
    exported: Mapping[str, float]


def check_loss(loss: Loss, most: float) -> None:
    """Refuse files that lose more than is allowed.

    Args:
        loss: What was measured.
        most: The share of the best 10 or 100 that may be lost.

    Raises:
        LossError: More is lost.
    """
    for k, overlap in zip(_KS, (loss.top_10_overlap, loss.top_100_overlap), strict=True):
        if 1 - overlap > most:
            raise LossError(
                f"of the trained model's best {k}, {1 - overlap:.2%} are lost, over {loss.queries:,} test "
                f"queries, and at most {most:.2%} are allowed; nothing was exported: export with "
                "float16, or allow more with --max-loss",
                loss,
            )


def retrieval_loss(folder: Path, signature: Signature, trained: Trained) -> Loss:
    """Ask a retrieval model and its exported query tower and index for the test users' best items.

    Args:
        folder: The artifact, complete but for what its signature says of files.
        signature: Its signature.
        trained: The run, with the model as it was trained.

    Raises:
        ArtifactError: The artifact can't be read.
    """
    dataset, model = trained.dataset, as_retrieval_model(trained.model)
    runtime = next(iter(signature.towers))
    served = TowerSearch.load(folder, find_served(folder, signature, kind=signature.kind, runtime=runtime))
    index, candidates = served.index, embed_candidates(model, dataset)

    def eager(users: NDArray[np.int64]) -> NDArray[np.float32]:
        with torch.inference_mode():
            queries: NDArray[np.float32] = model.query_tower(to_tensors(dataset.users.take(users))).numpy()
        return queries @ candidates.T

    def exported(users: NDArray[np.int64]) -> NDArray[np.float32]:
        return index.scored.scores(served.tower(dataset.users.take(users)))

    test, users = _sample(dataset.test, _QUERIES)
    seen = seen_before(dataset, "test")
    known = PairsByUser(seen.users, seen.items)
    tally = _Tally()
    for first in range(0, len(users), _AT_ONCE):
        chunk = users[first : first + _AT_ONCE]
        scores = eager(chunk)
        scores[known.pairs(chunk)] = -np.inf
        queries = served.tower(dataset.users.take(chunk))
        excluded = [known.pairs(chunk[place : place + 1])[1] for place in range(len(chunk))]
        tally.add(scores, index.search(queries, [max(_KS)] * len(chunk), excluded))
    settings = trained.config.evaluation.model_dump()
    return tally.loss(*(evaluate(scorer, test, seen, **settings) for scorer in (eager, exported)))


def ranking_loss(folder: Path, signature: Signature, trained: Trained, smaller: nn.Module) -> Loss:
    """Let a ranking model and its exported file rank a sample of the catalogue for test queries.

    Args:
        folder: The artifact.
        signature: Its signature.
        trained: The run, with the model as it was trained.
        smaller: The model that was exported.

    Raises:
        ArtifactError: The artifact can't be read.
    """
    dataset, model = trained.dataset, trained.model
    runtime = next(iter(signature.towers))
    ranker = load_tower(runtime, folder / signature.towers[runtime]["ranker"])
    tally = _Tally()
    for features in _to_rank(dataset, _sample(dataset.test, _RANKED_QUERIES)[0]):
        with torch.inference_mode():
            scores = model(to_tensors(features)).numpy()
        tally.add(scores[None], [top_rows(ranker(features), max(_KS))])
    test = dataset.test.take(_rows(len(dataset.test), _MEASURED))
    kind, sampled = kind_of(trained.config), replace(dataset, test=test)
    return tally.loss(*(kind.measure(trained.config, sampled, asked, "test") for asked in (model, smaller)))


def _to_rank(dataset: Dataset, test: Interactions) -> Iterator[dict[str, NDArray[Any]]]:
    """Give for each user the inputs of all candidates, with the query as it was at the last interaction."""
    items = _rows(len(dataset.items), _CANDIDATES)
    taken = dataset.items.take(items)
    for row in len(test) - 1 - np.unique(test.users[::-1], return_index=True)[1]:
        query = dataset.examples(test.take(np.array([row])))
        yield {**{name: np.repeat(values, len(items), axis=0) for name, values in query.items()}, **taken}


def _sample(interactions: Interactions, most: int) -> tuple[Interactions, NDArray[np.int64]]:
    """Give the interactions of some users, and these users; the same each time."""
    users = np.unique(interactions.users)
    users = users[_rows(len(users), most)]
    return interactions.take(np.flatnonzero(np.isin(interactions.users, users))), users


def _rows(count: int, most: int) -> NDArray[np.int64]:
    if count <= most:
        return np.arange(count)
    return np.sort(np.random.default_rng(0).choice(count, most, replace=False))


class _Tally:
    def __init__(self) -> None:
        self.overlaps: dict[int, list[float]] = {k: [] for k in _KS}
        self.differences: list[NDArray[np.float32]] = []
        self.candidates = 0

    def add(
        self, scores: NDArray[np.float32], found: Sequence[tuple[NDArray[np.int64], NDArray[np.float32]]]
    ) -> None:
        """Compare answers.

        Args:
            scores: The trained model's, `[queries, candidates]`; -inf is what a query must not get.
            found: The best 100 by the exported files, and their scores.
        """
        self.candidates = scores.shape[1]
        for trained, (got, exported) in zip(scores, found, strict=True):
            # A copy, as it is written over.
            best, _ = top_rows(trained.copy(), max(_KS))
            for k, overlaps in self.overlaps.items():
                if len(best):
                    overlaps.append(float(np.isin(best[:k], got[:k]).mean()))
            self.differences.append(np.abs(trained[got] - exported)[np.isin(got, best)])

    def loss(self, trained: Mapping[str, float], exported: Mapping[str, float]) -> Loss:
        """Sum it up."""
        differences = np.concatenate(self.differences)
        if not differences.size:
            # Nothing in common, or nothing to compare.
            differences = np.array([np.inf], np.float32)
        return Loss(
            queries=len(self.overlaps[10]),
            candidates=self.candidates,
            top_10_overlap=float(np.mean(self.overlaps[10])),
            top_100_overlap=float(np.mean(self.overlaps[100])),
            score_difference=float(differences.mean()),
            largest_score_difference=float(differences.max()),
            trained=trained,
            exported=exported,
        )
