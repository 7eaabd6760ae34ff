"""A ranking model small enough to work its answers out by hand, over the queries of `small.py`.

A score is 100 * bucket of the age + 10 * length of the history + bucket of the year + index of the item / 8.
Known items: "10" to "13" have the indices 2 to 5 and the year buckets 1, 2, 1, 0; an unknown one has 1 and 0.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.handlers.small import query_spec, small_signature, write_query_files
from torchtowers.handlers.candidate_ranker import CandidateRanker
from torchtowers.handlers.limits import Limits
from torchtowers.handlers.lookup import LookupColumn
from torchtowers.handlers.query_encoder import QueryEncoder
from torchtowers.handlers.runtime import Tower
from torchtowers.handlers.signature import FeatureSpec, Signature, TowerSpec
from torchtowers.handlers.tower_scorer import TowerScorer


def item_spec() -> TowerSpec:
    """Give what the model takes of each candidate."""
    return TowerSpec(
        key="item_id",
        ids="encoders/item_id",
        features=(
            FeatureSpec(
                "item_id",
                "string",
                ("batch",),
                {"kind": "token", "vocabulary": "encoders/item_id", "oov_buckets": 1},
                "unknown_row",
                required=True,
            ),
            FeatureSpec(
                "year", "number", ("batch",), {"kind": "buckets", "boundaries": [1990]}, "outermost_bucket"
            ),
        ),
        lookup={"year": "lookup/year"},
    )


def small_ranking_model(inputs: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
    """Score by hand."""
    lengths = np.count_nonzero(inputs["history"], axis=1)
    scores = 100 * inputs["age"] + 10 * lengths + inputs["year"] + inputs["item_id"] / 8
    return np.asarray(scores, dtype=np.float32)


def small_ranking_signature() -> Signature:
    """Give a signature that names no file's sha256."""
    return replace(
        small_signature(),
        kind="ranking",
        candidate=item_spec(),
        index=None,
        columns={},
        towers={"onnx": {"ranker": "ranker.onnx"}},
    )


def small_scorer(folder: Path, *, model: Tower = small_ranking_model) -> TowerScorer:
    """Make what scores, with the files of its encoders in `folder`."""
    write_query_files(folder)
    LookupColumn(np.array([1, 2, 1, 0]), None).save(folder, "lookup/year")
    item = QueryEncoder(item_spec(), folder, None)
    return TowerScorer(QueryEncoder(query_spec(), folder, "history"), item, model)


def small_ranker(
    folder: Path, *, limits: Limits | None = None, model: Tower = small_ranking_model
) -> CandidateRanker:
    """Make the ranker, with the files of its encoders in `folder`."""
    return CandidateRanker(small_ranking_signature(), small_scorer(folder, model=model), limits or Limits())
