"""Records requests and their answers in an artifact: workers warm up with them, and check themselves."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torchtowers.export.errors import ExportError
from torchtowers.export.questions import raw_rows
from torchtowers.handlers.candidate_ranker import CandidateRanker
from torchtowers.handlers.errors import RequestError
from torchtowers.handlers.recommender import Recommender
from torchtowers.handlers.samples import FILE_NAME, Sample, write_samples
from torchtowers.handlers.signature import Signature, sha256_of

__all__ = ["record_samples"]

_COUNT = 16
_K = 10
_CANDIDATES = 20


def record_samples(folder: Path, signature: Signature, runtime: str | None = None) -> Signature:
    """Ask an artifact with users from all over its table, known and unknown, and write samples.json.

    Args:
        folder: The artifact, whose signature.json is there.
        signature: The same.
        runtime: Of the files that answer; by default as for `Recommender.load`.

    Returns:
        The signature that names the file, written.
    """
    if signature.kind == "ranking":
        ranker = CandidateRanker.load(folder, runtime=runtime, signature=signature)
        samples = [_sample(request, ranker.rank) for request in _ranking_requests(ranker)]
    else:
        recommender = Recommender.load(folder, runtime=runtime, signature=signature)
        rows = raw_rows(recommender.encoder, _COUNT, _K)
        samples = [_sample({**row.features, "k": _K}, recommender.recommend) for row in rows]
    write_samples(folder, samples)
    files = {**signature.files, FILE_NAME: sha256_of(folder / FILE_NAME)}
    recorded = replace(signature, samples=FILE_NAME, files=files)
    recorded.write(folder)
    return recorded


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
