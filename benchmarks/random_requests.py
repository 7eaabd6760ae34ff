"""Random requests to an artifact's model: every kind of value is sent, left out, missing or unknown."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from torchtowers.export.questions import Entities, raw_rows
from torchtowers.handlers.candidate_ranker import CandidateRanker
from torchtowers.handlers.combined_signature import CombinedSignature, read_signature
from torchtowers.handlers.recommender import Recommender
from torchtowers.handlers.two_stage_recommender import TwoStageRecommender

__all__ = ["random_requests"]

_K = 100
_CANDIDATES = 20


def random_requests(artifact: Path, count: int, seed: int) -> list[dict[str, Any]]:
    """Draw requests of one row.

    Retrieval asks for 100 items and excludes up to five and, every second time, the history; ranking asks for
    20 candidates by their ids, one in many unknown. Two stages ask as retrieval does, with features of both,
    and have every item ranked: of two that are rounded alike, another runtime may find the other.

    Args:
        artifact: The artifact; any of its towers is loaded.
        count: Requests.
        seed: Decides which.
    """
    generator = np.random.default_rng(seed)
    signature = read_signature(artifact)
    if isinstance(signature, CombinedSignature):
        both = TwoStageRecommender.load(artifact)
        ranked = _random_rows(both.scorer.query, count, generator)
        return [
            {**of_ranking, **request, "candidates": len(both.recommender.search.ids)}
            for of_ranking, request in zip(
                ranked, _retrieval_requests(both.recommender, count, generator), strict=True
            )
        ]
    if signature.kind == "ranking":
        ranker = CandidateRanker.load(artifact)
        names = [*ranker.item.tokens, "no such item"]
        return [
            {
                **row,
                "candidates": generator.choice(names, min(len(names), _CANDIDATES), replace=False).tolist(),
            }
            for row in _random_rows(ranker.query, count, generator)
        ]
    return _retrieval_requests(Recommender.load(artifact), count, generator)


def _retrieval_requests(
    recommender: Recommender, count: int, generator: np.random.Generator
) -> list[dict[str, Any]]:
    names = recommender.search.ids.json_values("ids")
    requests = []
    for row in _random_rows(recommender.encoder, count, generator):
        row |= {"k": _K, "exclude": generator.choice(names, generator.integers(0, 6)).tolist()}
        if recommender.encoder.history is not None:
            row["exclude_history"] = bool(generator.integers(2))
        requests.append(row)
    return requests


def _random_rows(entities: Entities, count: int, generator: np.random.Generator) -> Iterator[dict[str, Any]]:
    pool = raw_rows(entities, 4 * count, _K)
    sent = {name: [row.features[name] for row in pool if name in row.features] for name in entities.encoders}
    for place in generator.permutation(len(pool))[:count]:
        features: dict[str, Any] = {entities.key: pool[place].features[entities.key]}
        for name, values in sent.items():
            if name != entities.key and values and generator.random() < 0.5:
                features[name] = values[generator.integers(len(values))]
        yield features
