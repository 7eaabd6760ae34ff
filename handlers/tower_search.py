"""Recommendations by an encoder, a query tower and an index."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from torchtowers.handlers.errors import ArtifactError, shorten
from torchtowers.handlers.execution import ON_CPU, Execution
from torchtowers.handlers.filters import Filters
from torchtowers.handlers.index import ExactIndex
from torchtowers.handlers.lengths import groups_by_length
from torchtowers.handlers.loading import Served
from torchtowers.handlers.measures import measures
from torchtowers.handlers.query_encoder import EncodedRow, QueryEncoder
from torchtowers.handlers.request import Row
from torchtowers.handlers.runtime import Tower, load_tower, rows_on_device
from torchtowers.handlers.strings import StringTable
from torchtowers.handlers.vocabulary import FIRST_TOKEN

__all__ = ["Found", "TowerSearch"]

# A row's items, as rows of the index, best first, and their scores; float32.
Found = tuple[NDArray[np.int64], NDArray[np.float32]]

# What one block of a batch's rows may take: 256 MB of scores, and tower inputs of a moderate size.
_MAX_SCORES = 1 << 26
_MAX_ROWS = 1024
# As many times k are ranked at first where at most n of one value come back, and again until that is enough.
_MORE = 8


class TowerSearch:
    """Searches an index with what the tower makes of encoded rows.

    Args:
        encoder: The query's encoders.
        tower: The query tower.
        index: The candidates.

    Raises:
        ArtifactError: The tower does not fit the encoders or the index.
    """

    def __init__(self, encoder: QueryEncoder, tower: Tower, index: ExactIndex) -> None:
        self.encoder = encoder
        self.tower = tower
        self.index = index
        self.history_rows = self._rows_by_history_index()
        self._try_tower()

    @classmethod
    def load(cls, folder: Path, served: Served, execution: Execution = ON_CPU) -> "TowerSearch":
        """Load the tower, its encoders and the index.

        Args:
            folder: An artifact's folder, or an unpacked archive.
            served: What of it answers.
            execution: Where and in what precision both compute.

        Raises:
            ArtifactError: A file is malformed.
            RuntimeUnavailableError: The runtime's library is not installed.
        """
        signature = served.signature
        tower = load_tower(served.runtime, folder / signature.served_file, execution)
        index = ExactIndex.load(folder, served.index)
        if execution.gpu_id is not None:
            index.device_rows = rows_on_device(served.runtime, index.scored, execution)
        return cls(QueryEncoder(signature.query, folder, signature.history), tower, index)

    @property
    def ids(self) -> StringTable:
        """The candidates' ids as JSON text."""
        return self.index.ids

    def rows_of(self, ids: Sequence[object]) -> NDArray[np.int64]:
        """Give the rows of those ids that are candidates."""
        return self.index.rows_of(ids)

    def search(self, rows: Sequence[EncodedRow], filters: Filters | None = None) -> Iterator[Found]:
        """Give each row's best items that are allowed.

        Args:
            rows: The queries.
            filters: Of the items' columns; needed where a row is restricted by one.
        """
        filters = filters or Filters({}, len(self.index), self.rows_of)
        # In blocks, so that the largest batch that the limits allow still fits into the worker's memory.
        step = max(1, min(_MAX_ROWS, _MAX_SCORES // max(1, len(self.index))))
        for begin in range(0, len(rows), step):
            block = rows[begin : begin + step]
            queries = self._embed(block)
            excluded = [self.excluded(row) for row in block]
            with measures.stage("index"):
                if all(row.row.restriction is None for row in block):
                    found = self.index.search(queries, [row.row.k for row in block], excluded)
                else:
                    found = list(self._narrowed([row.row for row in block], queries, excluded, filters))
            yield from found

    def _embed(self, rows: Sequence[EncodedRow]) -> NDArray[np.float32]:
        """Give the rows' embeddings; rows with long lists are apart from those with short ones."""
        groups = groups_by_length([self.encoder.longest(row) for row in rows])
        parts = [self._embed_together([rows[place] for place in group]) for group in groups]
        if len(groups) == 1:
            return parts[0]
        embedded = np.empty((len(rows), parts[0].shape[1]), np.float32)
        for group, part in zip(groups, parts, strict=True):
            embedded[group] = part
        return embedded

    def _embed_together(self, rows: Sequence[EncodedRow]) -> NDArray[np.float32]:
        with measures.stage("encode"):
            inputs = self.encoder.stack(rows)
        with measures.stage("tower"):
            return self.tower(inputs)

    def _narrowed(
        self,
        rows: Sequence[Row],
        queries: NDArray[np.float32],
        excluded: Sequence[NDArray[np.int64]],
        filters: Filters,
    ) -> Iterator[Found]:
        allowed = [filters.allowed(row) for row in rows]
        counts = [row.k * _MORE if row.restriction and row.restriction.diversity else row.k for row in rows]
        found = self.index.search(queries, counts, excluded, allowed)
        for place, (row, count, (items, scores)) in enumerate(zip(rows, counts, found, strict=True)):
            own = slice(place, place + 1)
            cut = filters.cut(row, items, scores)
            # What diversity leaves out is replaced by what is further down, as far as there is anything.
            while count > row.k and len(cut[0]) < row.k and len(items) == count < len(self.index):
                count *= _MORE
                ((items, scores),) = self.index.search(queries[own], [count], excluded[own], allowed[own])
                cut = filters.cut(row, items, scores)
            yield cut

    def excluded(self, row: EncodedRow) -> NDArray[np.int64]:
        """Give the index's rows that a query must not get."""
        excluded = self.index.rows_of(row.row.exclude)
        if row.row.exclude_history and len(row.history):
            known = self.history_rows[np.asarray(row.history)]
            excluded = np.concatenate([excluded, known[known >= 0]])
        return excluded

    def _rows_by_history_index(self) -> NDArray[np.int32]:
        history = self.encoder.history
        if history is None:
            return np.empty(0, dtype=np.int32)
        rows = np.full(history.size, -1, dtype=np.int32)
        rows[FIRST_TOKEN:] = history.vocabulary.table.rows_in(self.index.table)
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
