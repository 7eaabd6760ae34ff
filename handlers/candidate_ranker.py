"""A ranking artifact, loaded and ready to score the candidates that a request lists; no server needed."""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchtowers.handlers.answer import encode_answer, encode_ranked
from torchtowers.handlers.dialect import Request
from torchtowers.handlers.encoders import Encoder
from torchtowers.handlers.errors import ArtifactError, InternalError, RequestError, SignatureError, shorten
from torchtowers.handlers.limits import Limits
from torchtowers.handlers.loading import load_served
from torchtowers.handlers.query_encoder import EncodedRow, QueryEncoder
from torchtowers.handlers.ranking_request import Candidate, RankingRow, ranking_rows_of
from torchtowers.handlers.request import Row
from torchtowers.handlers.runtime import Tower
from torchtowers.handlers.signature import Signature

__all__ = ["CandidateRanker"]

_LOGGER = logging.getLogger(__name__)

# Candidates that go through the model at once; bounds the worker's memory for the largest batch.
_MAX_SCORES = 4096
# Items whose encoded features are kept; of a larger catalogue the ones asked for last.
_KEPT_ITEMS = 1 << 16


@dataclass(frozen=True)
class EncodedQuery:
    """A row whose features are encoded.

    Args:
        query: What its candidates have in common.
        candidates: Each candidate's own.
        ids: The candidates' ids as JSON text.
        k: How many to give; None for all, in their order.
    """

    query: EncodedRow
    candidates: Sequence[EncodedRow]
    ids: Sequence[bytes]
    k: int | None


class CandidateRanker:
    """Scores candidates with a ranking model from an artifact's folder or an unpacked archive.

    Args:
        signature: The artifact's signature.
        query: Encodes what a row has once.
        item: Encodes what each candidate has.
        ranker: The model.
        limits: What a request may ask for.
    """

    def __init__(
        self,
        signature: Signature,
        query: QueryEncoder,
        item: QueryEncoder,
        ranker: Tower,
        limits: Limits,
    ) -> None:
        self.signature = signature
        self.query = query
        self.item = item
        self.ranker = ranker
        self.limits = limits
        both = query.fields.keys() & item.fields.keys()
        if both:
            raise SignatureError(f"{min(both)} can't be a field of the query and of the candidates")
        self._key = item.spec.key
        self._known = lru_cache(_KEPT_ITEMS)(self._encode_id)
        self._try_ranker()

    @classmethod
    def load(
        cls,
        folder: str | Path,
        *,
        runtime: str | None = None,
        gpu_id: int | None = None,
        threads: int | None = None,
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
        ranker = load_served(
            folder, signature, kind="ranking", runtime=runtime, gpu_id=gpu_id, threads=threads
        )
        if signature.candidate is None:
            raise ArtifactError("the signature of a ranking model has no candidate inputs; export it again")
        query = QueryEncoder(signature.query, folder, signature.history)
        item = QueryEncoder(signature.candidate, folder, None)
        return cls(signature, query, item, ranker, limits or Limits())

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
        answer: dict[str, Any] = json.loads(encode_answer(request.dialect, answered))
        return answer

    def read(self, body: object) -> Request[EncodedQuery]:
        """Check a parsed body and encode its rows, the query of each once.

        Raises:
            RequestError: The body is not what a dialect allows.
        """
        request = ranking_rows_of(body, self.limits, self.query.fields, self.item.fields, self._key)
        return Request(request.dialect, tuple(map(self._encode, request.rows)))

    def answers(self, rows: Sequence[EncodedQuery]) -> Iterator[bytes | RequestError]:
        """Score a batch and give each row's answer as JSON, one after the other."""
        scores = self._scores(rows)
        ends = np.cumsum([len(row.candidates) for row in rows])
        for row, own in zip(rows, np.split(scores, ends[:-1]), strict=True):
            if not np.isfinite(own).all():  # which JSON can't hold
                _LOGGER.error("the model gave a score that is not finite")
                yield InternalError()
                continue
            order = np.arange(len(own)) if row.k is None else np.argsort(-own, kind="stable")[: row.k]
            yield encode_ranked([row.ids[place] for place in order], own[order])

    def _scores(self, rows: Sequence[EncodedQuery]) -> NDArray[np.float32]:
        """Score all candidates, one row's after the other's; float32 `[candidates]`."""
        candidates = list(chain.from_iterable(row.candidates for row in rows))
        owners = np.repeat(np.arange(len(rows)), [len(row.candidates) for row in rows])
        scores = []
        for begin in range(0, len(candidates), _MAX_SCORES):
            block = slice(begin, begin + _MAX_SCORES)
            scores.append(self.ranker(self._inputs(rows, owners[block], candidates[block])))
        return np.concatenate(scores)

    def _inputs(
        self, rows: Sequence[EncodedQuery], owners: NDArray[np.int64], candidates: Sequence[EncodedRow]
    ) -> dict[str, NDArray[Any]]:
        first, last = int(owners[0]), int(owners[-1])
        queries = self.query.stack([row.query for row in rows[first : last + 1]])
        repeated = {name: values[owners - first] for name, values in queries.items()}
        return {**repeated, **self.item.stack(candidates)}

    def _encode(self, row: RankingRow) -> EncodedQuery:
        return EncodedQuery(
            self.query.encode(Row(row.features, k=1, place=row.place)),
            [self._encode_candidate(candidate) for candidate in row.candidates],
            [json.dumps(candidate.id).encode() for candidate in row.candidates],
            row.k,
        )

    def _encode_candidate(self, candidate: Candidate) -> EncodedRow:
        if candidate.features is None:
            return self._known(candidate.id)
        return self.item.encode(Row(candidate.features, k=1, place=f"{candidate.place}."))

    def _encode_id(self, token: str) -> EncodedRow:
        return self.item.encode(Row({self._key: token}, k=1))

    def _try_ranker(self) -> None:
        """Run the model once: a file that does not fit the signature is refused while it is loaded."""
        queries = self.query.stack([self.query.encode(Row({self.query.spec.key: "?"}, k=1))])
        try:
            shape = self.ranker({**queries, **self.item.stack([self._encode_id("?")])}).shape
        except Exception as error:  # of whichever runtime
            raise ArtifactError(
                f"the ranking model does not take the signature's features: {shorten(str(error))}"
            ) from error
        if shape != (1,):
            raise ArtifactError(f"the ranking model gives {shape} for one candidate, expected (1,)")
