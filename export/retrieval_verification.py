"""An exported retrieval model against the trained one: towers, recommendations, and the fused files."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from torchtowers.export.comparison import BATCH_SIZES, Comparison, difference_of
from torchtowers.export.errors import VerificationError
from torchtowers.export.expected import Arrays, inputs_of, same_question
from torchtowers.export.questions import retrieval_rows
from torchtowers.handlers.encoders import Encoder
from torchtowers.handlers.fused_search import FusedSearch
from torchtowers.handlers.limits import Limits
from torchtowers.handlers.loading import Served, find_served
from torchtowers.handlers.recommender import Recommender, Search
from torchtowers.handlers.runtime import load_tower
from torchtowers.handlers.signature import Signature
from torchtowers.handlers.tower_search import TowerSearch
from torchtowers.handlers.vocabulary import Vocabulary

__all__ = ["compare_module", "compare_retrieval"]


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
    items = Vocabulary.load(folder, signature.candidate.ids).tokens

    def recommender(search: Search) -> Recommender:
        return Recommender(signature, search, {}, Limits())

    comparisons: list[Comparison] = []
    for runtime, files in signature.towers.items():
        towers = TowerSearch.load(folder, find_served(folder, signature, kind="retrieval", runtime=runtime))
        for name, spec in (("query", signature.query), ("candidate", signature.candidate)):
            encoders = {feature.name: feature.load_encoder(folder) for feature in spec.features}
            comparisons += compare_module(runtime, name, folder / files[name], encoders, expected)
        comparisons += _compare_recommendations(
            runtime, "recommendations", recommender(towers), towers, items, expected, candidates
        )
    for runtime in signature.fused:
        fused = FusedSearch.load(folder, Served(signature.for_serving(runtime, fused=True), runtime))
        comparisons += _compare_recommendations(
            runtime, "fused", recommender(fused), towers, items, expected, candidates
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


def _compare_recommendations(
    runtime: str,
    name: str,
    recommender: Recommender,
    towers: TowerSearch,
    items: Sequence[str],
    expected: Arrays,
    candidates: NDArray[np.float32] | None,
) -> Iterator[Comparison]:
    # The index may hold items that came later than the model.
    tokens = items if candidates is not None else towers.ids.json_values("the index's ids")
    row_of = {token: row for row, token in enumerate(tokens)}
    index, encoder = towers.index, towers.encoder
    if candidates is None or index.vectors.values.dtype != np.float32:
        # What the index holds is compared with the model's by itself, where its rounding is allowed for.
        candidates = index.scored.take(slice(None))
    for batch in BATCH_SIZES:
        rows = retrieval_rows(encoder, items, batch, has_history=encoder.history is not None)
        queries = same_question(expected, f"recommendations/{batch}", rows)
        answers = map(json.loads, recommender.answers([recommender.encoder.encode(row) for row in rows]))
        difference = 0.0
        for query, row, answer in zip(queries, rows, answers, strict=True):
            allowed = candidates @ query
            allowed[towers.excluded(encoder.encode(row))] = -np.inf
            scores = np.array(answer["scores"], np.float32)
            difference = max(difference, _difference(answer["items"], scores, allowed, row_of, row.k))
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
