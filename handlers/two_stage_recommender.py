"""Two stages, ready to answer: a search finds items, a ranking model orders them; no server needed."""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchtowers.handlers.answer import encode_answer, encode_row
from torchtowers.handlers.combined_signature import CombinedSignature
from torchtowers.handlers.dialect import Request
from torchtowers.handlers.encoders import Encoder
from torchtowers.handlers.errors import FieldError, InternalError, LimitError, RequestError
from torchtowers.handlers.execution import ON_CPU, Execution
from torchtowers.handlers.item_inputs import ItemInputs
from torchtowers.handlers.limits import Limits
from torchtowers.handlers.loading import Served, find_served
from torchtowers.handlers.measures import measures
from torchtowers.handlers.query_encoder import EncodedRow, count_unknown
from torchtowers.handlers.recommender import Recommender
from torchtowers.handlers.request import Row, rows_of
from torchtowers.handlers.request_schema import Schema, answer_schema, row_schema
from torchtowers.handlers.tower_scorer import TowerScorer

__all__ = ["TwoStageRecommender", "TwoStageRow"]

_LOGGER = logging.getLogger(__name__)


@dataclass(slots=True)
class TwoStageRow:
    """A row whose features are encoded for both models.

    Args:
        row: As it came.
        found: For the search, which is asked for all items that are to be ranked.
        ranked: For the ranking model, what all of them have in common.
    """

    row: Row
    found: EncodedRow
    ranked: EncodedRow


class TwoStageRecommender:
    """Answers queries with the best items by a ranking model's scores, of those that a search finds.

    Args:
        signature: Of both models.
        recommender: The retrieval model.
        scorer: The ranking model.
        items: What it takes of the index's items.
        limits: What a request may ask for.
    """

    def __init__(
        self,
        signature: CombinedSignature,
        recommender: Recommender,
        scorer: TowerScorer,
        items: ItemInputs,
        limits: Limits,
    ) -> None:
        self.signature = signature
        self.recommender = recommender
        self.scorer = scorer
        self.items = items
        self.limits = limits
        self._fields = {**scorer.query.fields, **recommender.fields}

    @classmethod
    def load(
        cls,
        folder: str | Path,
        *,
        runtime: str | None = None,
        execution: Execution = ON_CPU,
        limits: Limits | None = None,
        signature: CombinedSignature | None = None,
    ) -> "TwoStageRecommender":
        """Load and verify an artifact that `torchtowers export combine` made.

        The arguments are those of `Recommender.load`; both models run in one runtime.

        Raises:
            ArtifactError: A file is missing, altered or malformed.
            RuntimeUnavailableError: The runtime's library is not installed.
        """
        folder, limits = Path(folder), limits or Limits()
        signature = signature or CombinedSignature.read(folder)
        found = find_served(folder, signature.retrieval, kind="retrieval", runtime=runtime)
        # The search's are verified, with the sha256 of all.
        signature.verify_files(folder, signature.files)
        recommender = Recommender.of_served(
            folder, signature.retrieval, found, execution=execution, limits=limits
        )
        ranked = Served(signature.ranking.for_serving(found.runtime), found.runtime)
        scorer = TowerScorer.load(folder, ranked, execution)
        items = ItemInputs.load(folder, signature, scorer.item, items=len(recommender.search.ids))
        return cls(signature, recommender, scorer, items, limits)

    @property
    def fields(self) -> Mapping[str, Encoder]:
        """The features that a request may hold: those of both models."""
        return self._fields

    def recommend(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Answer one request body, as a served model would.

        Example:
            >>> TwoStageRecommender.load("artifacts/both").recommend(
            ...     {"user_id": "196", "k": 3, "candidates": 200}
            ... )  # doctest: +SKIP
            {'items': [...], 'scores': [...]}

        Raises:
            RequestError: The body is not what a dialect allows, or the model gave no score.
        """
        request = self.read(body)
        answered: list[bytes] = []
        for row in self.answers(request.rows):
            if isinstance(row, RequestError):
                raise row
            answered.append(row)
        answer: dict[str, Any] = json.loads(encode_answer(request, answered))
        return answer

    def read(self, body: object) -> Request[TwoStageRow]:
        """Check a parsed body and encode its rows for both models.

        Raises:
            RequestError: The body is not what a dialect allows.
        """
        has_history = self.recommender.encoder.history is not None
        request = rows_of(
            body,
            self.limits,
            self.fields,
            self.recommender.columns,
            has_history=has_history,
            has_stages=True,
        )
        rows = tuple(map(self.encode, request.rows))
        count_unknown([row.found for row in rows])
        scores = sum(row.found.row.k for row in rows)
        most = self.limits.max_scores
        if scores > most:
            raise LimitError(
                f"candidates: at most {most} in all rows of a request together, got {scores}",
                field="candidates",
            )
        return request.with_rows(rows)

    def answers(self, rows: Sequence[TwoStageRow]) -> Iterator[bytes | RequestError]:
        """Search and rank for a batch, each in one pass, and give each row's answer as JSON."""
        found = [items for items, _ in self.recommender.find([row.found for row in rows])]
        items = np.concatenate(found)
        with measures.stage("rank"):
            scores = self.scorer.scores_of(
                [row.ranked for row in rows],
                [len(own) for own in found],
                lambda block: self.items.take(items[block]),
            )
        ends = np.cumsum([len(own) for own in found])
        for row, own, ranked in zip(rows, found, np.split(scores, ends[:-1]), strict=True):
            with measures.stage("answer"):
                answer = self._answer(row.row, own, ranked)
            yield answer

    def schemas(self) -> tuple[Schema, Schema]:
        """Give the JSON Schemas of a request's row and of its answer."""
        candidates = {"type": "integer", "minimum": 1, "maximum": self.limits.max_candidates}
        options = {**self.recommender.options(), "candidates": candidates}
        options["k"]["maximum"] = min(self.limits.max_k, self.limits.max_candidates)
        required = dict.fromkeys([*self.recommender.encoder.required, *self.scorer.query.required])
        row = row_schema(self.fields, required, options)
        return row, answer_schema([*self.recommender.columns])

    def _answer(
        self, row: Row, items: NDArray[np.int64], scores: NDArray[np.float32]
    ) -> bytes | RequestError:
        if not np.isfinite(scores).all():  # which JSON can't hold
            _LOGGER.error("the ranking model gave a score that is not finite")
            return InternalError()
        order = np.argsort(-scores, kind="stable")
        best = self.recommender.filters.cut(row, items[order], scores[order])
        if not len(best[0]):
            measures.add("torchtowers_empty_answers_total", 1)
        columns = {name: self.recommender.columns[name] for name in row.fields}
        return encode_row(*best, self.recommender.search.ids, columns)

    def encode(self, row: Row) -> TwoStageRow:
        """Encode one row for both models.

        Raises:
            FieldError: A required feature is missing, or a feature or option does not fit.
        """
        found, ranked = self.recommender.encoder, self.scorer.query
        # Scores are the ranking model's, so what looks at them comes after it.
        restriction = row.restriction and replace(row.restriction, min_score=None, diversity=())
        wanted = replace(row, features=_only(row, found.fields), k=self._count(row), restriction=restriction)
        return TwoStageRow(
            row,
            found.encode(wanted),
            ranked.encode(Row(_only(row, ranked.fields), k=1, place=row.place)),
        )

    def _count(self, row: Row) -> int:
        """Give how many items are to be ranked: as many as the row says, else no fewer than it asks for."""
        most = self.limits.max_candidates
        if row.k > most:
            raise FieldError(f"{row.place}k", row.k, f"at most {most}, the most items that are ranked")
        if row.candidates is not None:
            return row.candidates
        return max(min(self.limits.candidates or self.signature.candidates, most), row.k)


def _only(row: Row, fields: Mapping[str, Encoder]) -> dict[str, object]:
    return {name: value for name, value in row.features.items() if name in fields}
