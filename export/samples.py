"""Records requests and their answers in an artifact: workers warm up with them, and check themselves."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from torchtowers.export.errors import ExportError
from torchtowers.export.questions import raw_rows, two_stage_rows
from torchtowers.handlers.agreement import TOLERANCE
from torchtowers.handlers.candidate_ranker import CandidateRanker
from torchtowers.handlers.combined_signature import AnySignature, CombinedSignature
from torchtowers.handlers.errors import RequestError
from torchtowers.handlers.recommender import Recommender
from torchtowers.handlers.request import Row
from torchtowers.handlers.samples import FILE_NAME, Sample, write_samples
from torchtowers.handlers.signature import Signature, sha256_of
from torchtowers.handlers.two_stage_recommender import TwoStageRecommender

__all__ = ["record_samples"]

_COUNT = 16
_K = 10
_CANDIDATES = 20


S = TypeVar("S", Signature, CombinedSignature)


def record_samples(folder: Path, signature: S, runtime: str | None = None) -> S:
    """Ask an artifact with users from all over its table, known and unknown, and write samples.json.

    Args:
        folder: The artifact, whose signature.json is there.
        signature: The same.
        runtime: Of the files that answer; by default as for `Recommender.load`.

    Returns:
        The signature that names the file, written; as it was where no request is fit to be compared.
    """
    samples = _samples_of(folder, signature, runtime)
    if not samples:
        return signature
    write_samples(folder, samples)
    files = {**signature.files, FILE_NAME: sha256_of(folder / FILE_NAME)}
    recorded = replace(signature, samples=FILE_NAME).with_files(files)
    recorded.write(folder)
    return recorded


def _samples_of(folder: Path, signature: AnySignature, runtime: str | None) -> list[Sample]:
    if isinstance(signature, CombinedSignature):
        both = TwoStageRecommender.load(folder, runtime=runtime, signature=signature)
        rows = two_stage_rows(both.recommender.encoder, both.scorer.query, 4 * _COUNT, _K)
        samples = (_sample_of_stages(row, both) for row in rows)
        return list(islice(filter(None, samples), _COUNT))
    if signature.kind == "ranking":
        ranker = CandidateRanker.load(folder, runtime=runtime, signature=signature)
        return [_sample(request, ranker.rank) for request in _ranking_requests(ranker)]
    recommender = Recommender.load(folder, runtime=runtime, signature=signature)
    rows = raw_rows(recommender.encoder, _COUNT, _K)
    return [_sample({**row.features, "k": _K}, recommender.recommend) for row in rows]


def _sample_of_stages(row: Row, both: TwoStageRecommender) -> Sample | None:
    """Give a sample, with as many items found as end before a wide gap between two of their scores.

    Else the last digits of float32 decide which item is found last, and that one can be the best.
    """
    most = min(both.signature.candidates, both.limits.max_candidates)
    ((_, scores),) = both.recommender.find([both.encode(replace(row, candidates=most + 1)).found])
    least = max(1, most // 2)
    gaps = (scores[:-1] - scores[1:])[least - 1 : most]
    if not len(gaps) or gaps.max() <= TOLERANCE * max(1.0, float(np.abs(scores).max())):
        return None
    count = least + int(gaps.argmax())
    return _sample({**row.features, "k": row.k, "candidates": count}, both.recommend)


def _ranking_requests(ranker: CandidateRanker) -> list[dict[str, Any]]:
    # By ids alone, as a fused file takes them.
    tokens = ranker.item.tokens
    count = min(_CANDIDATES, len(tokens))
    requests = []
    for number, row in enumerate(raw_rows(ranker.query, _COUNT, 1)):
        candidates = [tokens[(number + place * len(tokens) // count) % len(tokens)] for place in range(count)]
        requests.append({**row.features, "candidates": candidates, "k": min(_K, count)})
    return requests


def _sample(request: dict[str, Any], ask: Any) -> Sample:
    try:
        answer: Mapping[str, Any] = ask(request)
    except RequestError as error:
        raise ExportError(f"the artifact does not answer {request}: {error}") from error
    return Sample(request, answer)
