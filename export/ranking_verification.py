"""An exported ranking model against the one that was trained: scores, answers, and the fused files."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from torchtowers.export.comparison import BATCH_SIZES, Comparison, check_worst, difference_of
from torchtowers.export.expected import Arrays, same_question
from torchtowers.export.ranking_questions import body_of, fused_rows, ranking_rows
from torchtowers.export.retrieval_verification import compare_module
from torchtowers.handlers.candidate_ranker import CandidateRanker
from torchtowers.handlers.fused_scorer import FusedScorer
from torchtowers.handlers.limits import Limits
from torchtowers.handlers.loading import Served
from torchtowers.handlers.request import Row
from torchtowers.handlers.signature import Signature

__all__ = ["compare_ranking"]

# Verification asks for more at once than a server need answer.
_LIMITS = Limits(max_rows=1 << 20, max_scores=1 << 30, max_answer_bytes=1 << 30)


def compare_ranking(folder: Path, signature: Signature, expected: Arrays) -> list[Comparison]:
    """Compare every file, each runtime's answers, and the fused files.

    Args:
        folder: The artifact.
        signature: Its signature.
        expected: The trained model's answers.

    Raises:
        VerificationError: The answers are to other questions, or a score is not finite.
        ArtifactError: The artifact can't be read.
    """
    comparisons: list[Comparison] = []
    for runtime, files in signature.towers.items():
        ranker = CandidateRanker.load(folder, runtime=runtime, signature=signature, limits=_LIMITS)
        encoders = {**ranker.query.encoders, **ranker.item.encoders}
        comparisons += compare_module(runtime, "scores", folder / files["ranker"], encoders, expected)
        # A score that is no number is an error of the file's, before it is one of an answer.
        check_worst(comparisons)
        comparisons += _compare_answers(runtime, "answers", ranker, ranker, expected)
    for runtime in signature.fused:
        fused = FusedScorer.load(folder, Served(signature.for_serving(runtime, fused=True), runtime))
        model = CandidateRanker(signature, fused, _LIMITS)
        comparisons += _compare_answers(runtime, "fused", model, ranker, expected)
    return comparisons


def _compare_answers(
    runtime: str, name: str, ranker: CandidateRanker, entities: CandidateRanker, expected: Arrays
) -> Iterator[Comparison]:
    key = entities.item.key
    for batch in BATCH_SIZES:
        rows = ranking_rows(entities.query, entities.item, batch)
        if name == "fused":
            rows = fused_rows(rows, key)
        answer = ranker.rank(body_of(rows, key))
        items = [item for row in answer["predictions"] for item in row["items"]]
        scores = np.array([score for row in answer["predictions"] for score in row["scores"]], np.float32)
        yield _comparison(runtime, name, batch, rows, items, scores, expected, key)


def _comparison(
    runtime: str,
    name: str,
    batch: int,
    rows: Sequence[tuple[Row, Sequence[Row]]],
    items: Sequence[str],
    scores: NDArray[np.float32],
    expected: Arrays,
    key: str,
) -> Comparison:
    answer = same_question(expected, f"{name}/{batch}", rows)
    asked = [row.features[key] for _, candidates in rows for row in candidates]
    difference = difference_of(scores, answer) if list(items) == asked else float("inf")
    return Comparison(runtime, name, batch, difference)
