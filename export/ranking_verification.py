"""An exported ranking model against the one that was trained: the same inputs give the same scores."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import nn

from torchtowers.data.dataset import Dataset
from torchtowers.export.errors import VerificationError
from torchtowers.export.ranking_questions import body_of, encode_pairs, ranking_rows
from torchtowers.export.stored import check_inputs
from torchtowers.export.tower_inputs import ranking_query
from torchtowers.export.verification import (
    BATCH_SIZES,
    Comparison,
    check_worst,
    compare_module,
    difference_of,
)
from torchtowers.handlers.candidate_ranker import CandidateRanker
from torchtowers.handlers.signature import Signature
from torchtowers.models.batch_tensors import to_tensors

__all__ = ["verify_ranking"]


def verify_ranking(folder: Path, model: nn.Module, dataset: Dataset) -> list[Comparison]:
    """Compare all that an artifact stores, every file, and each runtime's answers with the eager model.

    Args:
        folder: The artifact with its signature.
        model: The trained model.
        dataset: Its data.

    Raises:
        VerificationError: Something stored differs, or a score differs by more than `TOLERANCE`; the worst
            is named.
        ArtifactError: The artifact can't be read.
    """
    model.eval()
    signature = Signature.read(folder)
    if signature.candidate is None:
        raise VerificationError("the artifact has no candidate inputs; nothing was exported")
    check_inputs(folder, signature.query, ranking_query(dataset), dataset)
    check_inputs(folder, signature.candidate, dataset.items, dataset)
    comparisons: list[Comparison] = []
    for runtime, files in signature.towers.items():
        comparisons += compare_module(runtime, "scores", folder / files["ranker"], model, dataset.encoders)
        # A score that is no number is an error of the file's, before it is one of an answer.
        check_worst(comparisons)
        ranker = CandidateRanker.load(folder, runtime=runtime, signature=signature)
        comparisons += _compare_answers(runtime, ranker, model, dataset)
    check_worst(comparisons)
    return comparisons


def _compare_answers(
    runtime: str, ranker: CandidateRanker, model: nn.Module, dataset: Dataset
) -> Iterator[Comparison]:
    lookup = bool(ranker.item.spec.lookup or ranker.query.spec.lookup)
    for batch in BATCH_SIZES:
        rows = ranking_rows(dataset, batch)
        answer = ranker.rank(body_of(rows, dataset.items.key))
        with torch.inference_mode():
            expected = model(to_tensors(encode_pairs(dataset, rows, lookup=lookup))).numpy()
        items = [item for row in answer["predictions"] for item in row["items"]]
        asked = [row.features[dataset.items.key] for _, candidates in rows for row in candidates]
        scores = np.array([score for row in answer["predictions"] for score in row["scores"]], np.float32)
        difference = difference_of(scores, expected) if items == asked else float("inf")
        yield Comparison(runtime, "answers", batch, difference)
