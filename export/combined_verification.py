"""Two stages in one artifact against the two models one after the other: items, order and scores."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from torchtowers.export.comparison import Comparison, difference_of
from torchtowers.export.questions import two_stage_rows
from torchtowers.handlers.candidate_ranker import CandidateRanker
from torchtowers.handlers.combined_signature import CombinedSignature
from torchtowers.handlers.limits import Limits
from torchtowers.handlers.loading import Served
from torchtowers.handlers.tower_scorer import TowerScorer
from torchtowers.handlers.two_stage_recommender import TwoStageRecommender, TwoStageRow

__all__ = ["compare_stages"]

_LIMITS = Limits(max_rows=1 << 20, max_scores=1 << 30, max_answer_bytes=1 << 30)
# Larger ones were compared where each model was exported.
_BATCH_SIZES = (1, 2, 7, 64)
# Items that are ranked of a row.
_MOST_ITEMS = 100


def compare_stages(folder: Path, signature: CombinedSignature) -> Iterator[Comparison]:
    """Compare each runtime's answers with what the ranking model gives for the retrieval model's items.

    Args:
        folder: The artifact.
        signature: Its signature.

    Raises:
        ArtifactError: The artifact can't be read.
    """
    for runtime in signature.towers:
        both = TwoStageRecommender.load(folder, runtime=runtime, signature=signature, limits=_LIMITS)
        served = Served(signature.for_serving(runtime).ranking, runtime)
        ranker = CandidateRanker(signature.ranking, TowerScorer.load(folder, served), _LIMITS)
        for batch in _BATCH_SIZES:
            yield Comparison(runtime, "two stages", batch, _difference(both, ranker, batch))


def _difference(both: TwoStageRecommender, ranker: CandidateRanker, batch: int) -> float:
    count = min(_MOST_ITEMS, len(both.items))
    rows = two_stage_rows(both.recommender.encoder, both.scorer.query, batch, count)
    read = [both.encode(replace(row, candidates=count)) for row in rows]
    # What the row is asked for by itself; each item's id then goes through the ranking model's encoders.
    asked = []
    for row, answer in zip(read, _found(both, read), strict=True):
        candidates = answer["items"]
        asked.append({**row.ranked.row.features, "candidates": candidates, "k": len(candidates)})
    ranked = ranker.rank({"instances": asked})["predictions"]
    difference = 0.0
    for answered, expected in zip(both.answers(read), ranked, strict=True):
        if not isinstance(answered, bytes):
            return float("inf")
        got = json.loads(answered)
        scores = dict(zip(expected["items"], expected["scores"], strict=True))
        if got["items"] != expected["items"] and scores.keys() != set(got["items"]):
            return float("inf")
        own = np.array([scores[item] for item in got["items"]], np.float32)
        found, best = np.array(got["scores"], np.float32), np.array(expected["scores"], np.float32)
        difference = max(difference, difference_of(found, own), difference_of(found, best))
    return difference


def _found(both: TwoStageRecommender, rows: Sequence[TwoStageRow]) -> Iterator[dict[str, Any]]:
    return map(json.loads, both.recommender.answers([row.found for row in rows]))
