"""An artifact, loaded and ready to answer: requests, what finds items, item columns; no server needed."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from torchtowers.handlers.answer import encode_answer, encode_row
from torchtowers.handlers.dialect import Request
from torchtowers.handlers.encoders import Encoder
from torchtowers.handlers.execution import ON_CPU, Execution
from torchtowers.handlers.filters import Filters
from torchtowers.handlers.fused_search import FusedSearch
from torchtowers.handlers.item_column import ItemColumn
from torchtowers.handlers.limits import Limits
from torchtowers.handlers.loading import Served, find_served
from torchtowers.handlers.measures import STAGES, measures
from torchtowers.handlers.query_encoder import EncodedRow, QueryEncoder, count_unknown
from torchtowers.handlers.request import rows_of
from torchtowers.handlers.request_schema import Schema, answer_schema, options_schema, row_schema
from torchtowers.handlers.signature import Signature
from torchtowers.handlers.strings import StringTable
from torchtowers.handlers.tower_search import Found, TowerSearch

__all__ = ["Recommender"]


class Search(Protocol):
    """Finds the best items for rows: by a tower and an index, or by a fused file."""

    @property
    def encoder(self) -> QueryEncoder:
        """Checks rows, and encodes them where there is a tower."""

    @property
    def ids(self) -> StringTable:
        """The candidates' ids as JSON text."""

    def rows_of(self, ids: Sequence[object]) -> NDArray[np.int64]:
        """Give the rows of those ids that are candidates."""

    def search(self, rows: Sequence[EncodedRow], filters: Filters | None = None) -> Iterator[Found]:
        """Give each row's best items that are allowed."""


class Recommender:
    """Answers queries from an artifact's folder or an unpacked archive.

    Args:
        signature: The artifact's signature.
        search: What finds items.
        columns: Item columns by name, in the index's order.
        limits: What a request may ask for.
    """

    def __init__(
        self,
        signature: Signature,
        search: Search,
        columns: Mapping[str, ItemColumn],
        limits: Limits,
    ) -> None:
        self.signature = signature
        self.search = search
        self.encoder = search.encoder
        self.columns = columns
        self.limits = limits
        self.filters = Filters(columns, len(search.ids), search.rows_of)

    @classmethod
    def load(
        cls,
        folder: str | Path,
        *,
        runtime: str | None = None,
        execution: Execution = ON_CPU,
        limits: Limits | None = None,
        signature: Signature | None = None,
    ) -> "Recommender":
        """Load and verify an artifact.

        Args:
            folder: An artifact's folder, or an unpacked archive.
            runtime: `torchscript`, `onnx` or `pt2`; by default what an archive was built for, else `onnx`.
            execution: Where and in what precision the model computes.
            limits: What a request may ask for.
            signature: The artifact's, where it is read already; by default it is read from the folder.

        Raises:
            ArtifactError: A file is missing, altered or malformed.
            RuntimeUnavailableError: The runtime's library is not installed.
        """
        folder = Path(folder)
        signature = signature or Signature.read(folder)
        served = find_served(folder, signature, kind="retrieval", runtime=runtime)
        return cls.of_served(folder, signature, served, execution=execution, limits=limits)

    @classmethod
    def of_served(
        cls,
        folder: Path,
        signature: Signature,
        served: Served,
        *,
        execution: Execution = ON_CPU,
        limits: Limits | None = None,
    ) -> "Recommender":
        """Load what answers of an artifact that is verified; the other arguments are those of `load`.

        Raises:
            ArtifactError: A file is malformed.
            RuntimeUnavailableError: The runtime's library is not installed.
        """
        load = FusedSearch.load if served.signature.is_fused else TowerSearch.load
        search = load(folder, served, execution)
        items = len(search.ids)
        columns = {name: ItemColumn.load(folder, spec, items) for name, spec in signature.columns.items()}
        return cls(signature, search, columns, limits or Limits())

    def recommend(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Answer one request body, as a served model would.

        Example:
            >>> Recommender.load("artifacts/movielens").recommend(
            ...     {"user_id": "196", "k": 3, "fields": ["title"]}
            ... )  # doctest: +SKIP
            {'items': [...], 'scores': [...], 'fields': {'title': [...]}}

        Raises:
            RequestError: The body is not what a dialect allows.
        """
        request = self.read(body)
        answer: dict[str, Any] = json.loads(encode_answer(request, self.answers(request.rows)))
        return answer

    @property
    def fields(self) -> Mapping[str, Encoder]:
        """The features that a request may hold."""
        return self.encoder.fields

    def read(self, body: object) -> Request[EncodedRow]:
        """Check a parsed body and encode its rows.

        Raises:
            RequestError: The body is not what a dialect allows.
        """
        has_history = self.encoder.history is not None
        request = rows_of(body, self.limits, self.fields, self.columns, has_history=has_history)
        rows = tuple(map(self.encoder.encode, request.rows))
        count_unknown(rows)
        return request.with_rows(rows)

    def find(self, rows: Sequence[EncodedRow]) -> Iterator[Found]:
        """Give each row's best items that are allowed, as rows of the index, and their scores."""
        return self.search.search(rows, self.filters)

    def answers(self, rows: Sequence[EncodedRow]) -> Iterator[bytes]:
        """Search a batch and give each row's answer as JSON, one after the other."""
        seconds = 0.0
        try:
            for row, (items, scores) in zip(rows, self.find(rows), strict=True):
                begin = perf_counter()
                columns = {name: self.columns[name] for name in row.row.fields}
                encoded = encode_row(items, scores, self.search.ids, columns)
                if not len(items):
                    measures.add("torchtowers_empty_answers_total", 1)
                seconds += perf_counter() - begin
                yield encoded
        finally:  # whoever takes as many answers as there are rows does not ask for the end
            measures.add(STAGES, seconds, "answer")

    def schemas(self) -> tuple[Schema, Schema]:
        """Give the JSON Schemas of a request's row and of its answer."""
        return row_schema(self.fields, self.encoder.required, self.options()), answer_schema([*self.columns])

    def options(self) -> dict[str, Schema]:
        """Give the JSON Schemas of a row's options."""
        kinds = {name: column.kind for name, column in self.columns.items()}
        return options_schema(self.limits, kinds, has_history=self.encoder.history is not None)
