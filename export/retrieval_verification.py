"""An exported retrieval model against the trained one: towers, recommendations, and the fused files."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchtowers.export.comparison import BATCH_SIZES, Comparison, difference_of
from torchtowers.export.errors import VerificationError
from torchtowers.export.expected import Arrays, inputs_of, same_question
from torchtowers.export.questions import retrieval_rows
from torchtowers.handlers.encoders import Encoder
from torchtowers.handlers.fused import fused_inputs, load_fused, string_lists
from torchtowers.handlers.recommender import Recommender
from torchtowers.handlers.request import Row
from torchtowers.handlers.runtime import load_tower
from torchtowers.handlers.signature import Signature
from torchtowers.handlers.vocabulary import Vocabulary

__all__ = ["compare_module", "compare_retrieval", "retrieval_inputs"]


def compare_retrieval(
    folder: Path, signature: Signature, expected: Arrays, candidates: NDArray[np.float32] | None = None
) -> list[Comparison]:
    """Compare every file, each runtime's recommendations, and the fused files.

    Args:
        folder: The artifact.
        signature: Its signature.
        expected: The trained model's answers.
        candidates: What the trained model makes of the candidates; by default the index is trusted.

    Raises:
        VerificationError: The answers are to other questions.
        ArtifactError: The artifact can't be read.
    """
    if signature.candidate is None:
        raise VerificationError(
            "the artifact has no candidate tower, as an archive has none: verify the artifact"
        )
    items = Vocabulary.load(folder / signature.candidate.ids).tokens
    comparisons: list[Comparison] = []
    for runtime, files in signature.towers.items():
        recommender = Recommender.load(folder, runtime=runtime, signature=signature)
        for name, spec in (("query", signature.query), ("candidate", signature.candidate)):
            if spec is not None:
                encoders = {feature.name: feature.load_encoder(folder) for feature in spec.features}
                comparisons += compare_module(runtime, name, folder / files[name], encoders, expected)
        comparisons += _compare_recommendations(
            runtime, "recommendations", recommender, items, expected, candidates
        )
    for runtime, file in signature.fused.items():
        recommender = Recommender.load(folder, runtime=next(iter(signature.towers)), signature=signature)
        comparisons += _compare_recommendations(
            runtime, "fused", recommender, items, expected, candidates, folder / file
        )
    return comparisons


def compare_module(
    runtime: str, name: str, path: Path, encoders: Mapping[str, Encoder], expected: Arrays
) -> Iterator[Comparison]:
    """Compare an exported file with the module that it was made of.

    Args:
        runtime: The file's.
        name: What is compared.
        path: The file.
        encoders: Of its features, by name.
        expected: The trained model's answers.
    """
    exported = load_tower(runtime, path)
    for batch in BATCH_SIZES:
        inputs = inputs_of(encoders, batch)
        answer = same_question(expected, f"{name}/{batch}", inputs)
        yield Comparison(runtime, name, batch, difference_of(exported(inputs), answer))


def retrieval_inputs(recommender: Recommender, rows: Sequence[Row]) -> dict[str, NDArray[Any]]:
    """Give what a fused file takes for rows, and the largest of their k."""
    inputs = fused_inputs(recommender.encoder, rows)
    inputs["exclude"] = string_lists([row.exclude for row in rows])
    if recommender.encoder.history is not None:
        inputs["exclude_history"] = np.array([row.exclude_history for row in rows])
    inputs["k"] = np.array([max(row.k for row in rows)])
    return inputs


def _compare_recommendations(
    runtime: str,
    name: str,
    recommender: Recommender,
    items: Sequence[str],
    expected: Arrays,
    candidates: NDArray[np.float32] | None,
    fused: Path | None = None,
) -> Iterator[Comparison]:
    # The index may hold items that came later than the model.
    tokens = items if candidates is not None else recommender.index.ids.json_values("the index's ids")
    row_of = {token: row for row, token in enumerate(tokens)}
    index = recommender.index
    if candidates is None or index.vectors.values.dtype != np.float32:
        # What the index holds is compared with the model's by itself, where its rounding is allowed for.
        rescoring = index.rescoring
        candidates = index.vectors.take(slice(None)) if rescoring is None else rescoring
    has_history = recommender.encoder.history is not None
    model = None if fused is None else load_fused(runtime, fused)
    for batch in BATCH_SIZES:
        rows = retrieval_rows(recommender.encoder, items, batch, has_history=has_history)
        queries = same_question(expected, f"recommendations/{batch}", rows)
        encoded = [recommender.encoder.encode(row) for row in rows]
        if model is None:
            contents = map(json.loads, recommender.answers(encoded))
            answers = [(content["items"], np.array(content["scores"], np.float32)) for content in contents]
        else:
            answers = model(retrieval_inputs(recommender, rows))
        difference = 0.0
        for query, row, (found, scores) in zip(queries, encoded, answers, strict=True):
            allowed = candidates @ query
            allowed[recommender.excluded(row)] = -np.inf
            difference = max(difference, _difference(found, scores, allowed, row_of, row.row.k))
        yield Comparison(runtime, name, batch, difference)


def _difference(
    items: Sequence[str],
    scores: NDArray[np.float32],
    allowed: NDArray[np.float32],
    row_of: Mapping[str, int],
    k: int,
) -> float:
    """Compare each item's score with its own, by its id, and all of them with the k best that are allowed."""
    count = min(k, int(np.isfinite(allowed).sum()))
    rows = [row_of.get(item, -1) for item in items]
    if len(rows) != count or len(set(rows)) != count or -1 in rows:
        return float("inf")
    best = np.sort(allowed)[::-1][:count]
    return max(difference_of(scores, allowed[rows]), difference_of(scores, best))
