"""A ranking artifact, loaded and ready to score the candidates that a request lists; no server needed."""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from torchtowers.handlers.answer import encode_answer, encode_ranked
from torchtowers.handlers.dialect import Request
from torchtowers.handlers.encoders import Encoder
from torchtowers.handlers.errors import InternalError, RequestError, SignatureError
from torchtowers.handlers.execution import ON_CPU, Execution
from torchtowers.handlers.fused_scorer import FusedScorer
from torchtowers.handlers.limits import Limits
from torchtowers.handlers.loading import find_served
from torchtowers.handlers.measures import measures
from torchtowers.handlers.query_encoder import EncodedRow, QueryEncoder, count_unknown
from torchtowers.handlers.ranking_request import Candidate, RankingRow, ranking_rows_of
from torchtowers.handlers.request import Row
from torchtowers.handlers.request_schema import Schema, answer_schema, ranking_schema
from torchtowers.handlers.signature import Signature
from torchtowers.handlers.tower_scorer import EncodedQuery, TowerScorer

__all__ = ["CandidateRanker"]

_LOGGER = logging.getLogger(__name__)

# Items whose encoded features are kept; of a larger catalogue the ones asked for last.
_KEPT_ITEMS = 1 << 16
# Of a longer id nothing is kept: a client chooses them, and no item's is that long.
_KEPT_ID = 256


class Scorer(Protocol):
    """Scores candidates: by the model's own file, or by a fused one."""

    @property
    def query(self) -> QueryEncoder:
        """Checks what a row has once, and encodes it where the file does not."""

    @property
    def item(self) -> QueryEncoder:
        """Likewise what each candidate has."""

    def scores(self, rows: Sequence[EncodedQuery]) -> NDArray[np.float32]:
        """Score all candidates, one row's after the other's; float32 `[candidates]`."""


class CandidateRanker:
    """Scores candidates with a ranking model from an artifact's folder or an unpacked archive.

    Args:
        signature: The artifact's signature.
        scorer: What scores candidates.
        limits: What a request may ask for.
    """

    def __init__(
        self,
        signature: Signature,
        scorer: Scorer,
        limits: Limits,
    ) -> None:
        self.signature = signature
        self.scorer = scorer
        self.query = scorer.query
        self.item = scorer.item
        self.limits = limits
        both = self.query.fields.keys() & self.item.fields.keys()
        if both:
            raise SignatureError(f"{min(both)} can't be a field of the query and of the candidates")
        self._key = self.item.spec.key
        self._known = lru_cache(_KEPT_ITEMS)(self._encode_id)

    @classmethod
    def load(
        cls,
        folder: str | Path,
        *,
        runtime: str | None = None,
        execution: Execution = ON_CPU,
        limits: Limits | None = None,
        signature: Signature | None = None,
    ) -> "CandidateRanker":
        """Load and verify an artifact; the arguments are those of `Recommender.load`.

        Raises:
            ArtifactError: A file is missing, altered or malformed.
            RuntimeUnavailableError: The runtime's library is not installed.
        """
        folder = Path(folder)
        signature = signature or Signature.read(folder)
        served = find_served(folder, signature, kind="ranking", runtime=runtime)
        load = FusedScorer.load if served.signature.is_fused else TowerScorer.load
        scorer = load(folder, served, execution)
        return cls(signature, scorer, limits or Limits())

    @property
    def fields(self) -> Mapping[str, Encoder]:
        """The features that a request's row may hold."""
        return self.query.fields

    def rank(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Answer one request body, as a served model would.

        Example:
            >>> CandidateRanker.load("artifacts/ratings").rank(
            ...     {"user_id": "196", "candidates": ["50", "181"]}
            ... )  # doctest: +SKIP
            {'items': ['50', '181'], 'scores': [...]}

        Raises:
            RequestError: The body is not what a dialect allows.
        """
        request = self.read(body)
        rows = list(self.answers(request.rows))
        for row in rows:
            if isinstance(row, RequestError):
                raise row
        answered = [row for row in rows if isinstance(row, bytes)]
        answer: dict[str, Any] = json.loads(encode_answer(request, answered))
        return answer

    def read(self, body: object) -> Request[EncodedQuery]:
        """Check a parsed body and encode its rows, the query of each once.

        Raises:
            RequestError: The body is not what a dialect allows.
        """
        request = ranking_rows_of(body, self.limits, self.query.fields, self.item.fields, self._key)
        rows = tuple(map(self._encode, request.rows))
        count_unknown([row.query for row in rows])
        return request.with_rows(rows)

    def answers(self, rows: Sequence[EncodedQuery]) -> Iterator[bytes | RequestError]:
        """Score a batch and give each row's answer as JSON, one after the other."""
        with measures.stage("rank"):
            scores = self.scorer.scores(rows)
        ends = np.cumsum([len(row.candidates) for row in rows])
        for row, own in zip(rows, np.split(scores, ends[:-1]), strict=True):
            if not np.isfinite(own).all():  # which JSON can't hold
                _LOGGER.error("the model gave a score that is not finite")
                yield InternalError()
                continue
            order = np.arange(len(own)) if row.k is None else np.argsort(-own, kind="stable")[: row.k]
            yield encode_ranked([row.ids[place] for place in order], own[order])

    def schemas(self) -> tuple[Schema, Schema]:
        """Give the JSON Schemas of a request's row and of its answer."""
        row = ranking_schema(self.query.fields, self.query.required, self.item.fields, self._key, self.limits)
        return row, answer_schema()

    def _encode(self, row: RankingRow) -> EncodedQuery:
        return EncodedQuery(
            self.query.encode(Row(row.features, k=1, place=row.place)),
            [self._encode_candidate(candidate) for candidate in row.candidates],
            [json.dumps(candidate.id).encode() for candidate in row.candidates],
            row.k,
        )

    def _encode_candidate(self, candidate: Candidate) -> EncodedRow:
        if candidate.features is None:
            known = self._known if len(candidate.id) <= _KEPT_ID else self._encode_id
            return known(candidate.id)
        return self.item.encode(Row(candidate.features, k=1, place=f"{candidate.place}."))

    def _encode_id(self, token: str) -> EncodedRow:
        return self.item.encode(Row({self._key: token}, k=1))
