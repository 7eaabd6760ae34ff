"""An artifact, loaded and ready to answer: encoders, query tower, index, item columns; no server needed."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchtowers.handlers.answer import encode_answer, encode_row
from torchtowers.handlers.dialect import Request
from torchtowers.handlers.encoders import Encoder
from torchtowers.handlers.errors import ArtifactError, shorten
from torchtowers.handlers.index import ExactIndex
from torchtowers.handlers.limits import Limits
from torchtowers.handlers.loading import load_served
from torchtowers.handlers.query_encoder import EncodedRow, QueryEncoder
from torchtowers.handlers.request import Row, rows_of
from torchtowers.handlers.runtime import Tower
from torchtowers.handlers.signature import Signature
from torchtowers.handlers.strings import StringTable
from torchtowers.handlers.vocabulary import FIRST_TOKEN

__all__ = ["Recommender"]

# What one block of a batch's rows may take: 256 MB of scores, and tower inputs of a moderate size.
_MAX_SCORES = 1 << 26
_MAX_ROWS = 1024


class Recommender:
    """Answers queries from an artifact's folder or an unpacked archive.

    Args:
        signature: The artifact's signature.
        encoder: The query's encoders.
        tower: The query tower.
        index: The candidates.
        columns: Item columns by name, each value as JSON text, in the index's order.
        limits: What a request may ask for.
    """

    def __init__(
        self,
        signature: Signature,
        encoder: QueryEncoder,
        tower: Tower,
        index: ExactIndex,
        columns: Mapping[str, StringTable],
        limits: Limits,
    ) -> None:
        self.signature = signature
        self.encoder = encoder
        self.tower = tower
        self.index = index
        self.columns = columns
        self.limits = limits
        self.history_rows = self._rows_by_history_index()
        self._try_tower()

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
    ) -> "Recommender":
        """Load and verify an artifact.

        Args:
            folder: An artifact's folder, or an unpacked archive.
            runtime: `torchscript` or `onnx`; by default the only one there is, else `onnx`.
            gpu_id: The CUDA device for the tower; None for the CPU.
            threads: Threads of one operation of the tower on the CPU.
            limits: What a request may ask for.
            signature: The artifact's, where it is read already; by default it is read from the folder.

        Raises:
            ArtifactError: A file is missing, altered or malformed.
            RuntimeUnavailableError: The runtime's library is not installed.
        """
        folder = Path(folder)
        signature = signature or Signature.read(folder)
        tower = load_served(
            folder, signature, kind="retrieval", runtime=runtime, gpu_id=gpu_id, threads=threads
        )
        if signature.index is None:
            raise ArtifactError("the signature of a retrieval model has no index; export it again")
        index = ExactIndex.load(folder, signature.index)
        columns = {name: StringTable.load(folder, stem) for name, stem in signature.columns.items()}
        for name, column in columns.items():
            if len(column.json_values(f"column {name}")) != len(index):
                raise ArtifactError(f"column {name} has {len(column)} values for {len(index)} items")
        encoder = QueryEncoder(signature.query, folder, signature.history)
        return cls(signature, encoder, tower, index, columns, limits or Limits())

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
        answer: dict[str, Any] = json.loads(encode_answer(request.dialect, self.answers(request.rows)))
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
        return Request(request.dialect, tuple(map(self.encoder.encode, request.rows)))

    def answers(self, rows: Sequence[EncodedRow]) -> Iterator[bytes]:
        """Search a batch and give each row's answer as JSON, one after the other."""
        for row, (items, scores) in zip(rows, self._found(rows), strict=True):
            columns = {name: self.columns[name] for name in row.row.fields}
            yield encode_row(items, scores, self.index.ids, columns)

    def _found(self, rows: Sequence[EncodedRow]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        # In blocks, so that the largest batch that the limits allow still fits into the worker's memory.
        step = max(1, min(_MAX_ROWS, _MAX_SCORES // max(1, len(self.index))))
        for begin in range(0, len(rows), step):
            block = rows[begin : begin + step]
            queries = self.tower(self.encoder.stack(block))
            excluded = [self.excluded(row) for row in block]
            yield from self.index.search(queries, [row.row.k for row in block], excluded)

    def excluded(self, row: EncodedRow) -> NDArray[np.int64]:
        """Give the index's rows that a query must not get."""
        excluded = self.index.rows_of(row.row.exclude)
        if row.row.exclude_history and row.history:
            known = self.history_rows[np.asarray(row.history)]
            excluded = np.concatenate([excluded, known[known >= 0]])
        return excluded

    def _rows_by_history_index(self) -> NDArray[np.int64]:
        history = self.encoder.history
        if history is None:
            return np.empty(0, dtype=np.int64)
        rows = np.full(history.size, -1, dtype=np.int64)
        for index, token in enumerate(history.vocabulary.tokens, start=FIRST_TOKEN):
            found = self.index.rows_of([token])
            if len(found):
                rows[index] = found[0]
        return rows

    def _try_tower(self) -> None:
        """Run the tower once: a file that does not fit the signature is refused while it is loaded."""
        expected = (1, self.index.vectors.dimension)
        try:
            anyone = self.encoder.encode(Row({self.encoder.spec.key: "?"}, k=1))
            shape = self.tower(self.encoder.stack([anyone])).shape
        except Exception as error:  # of whichever runtime
            raise ArtifactError(
                f"the query tower does not take the signature's features: {shorten(str(error))}"
            ) from error
        if shape != expected:
            raise ArtifactError(f"the query tower gives {shape} for one row, the index needs {expected}")
