"""Recommendations by a fused file alone, from raw values to ids and scores."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchtowers.handlers.errors import ArtifactError, shorten
from torchtowers.handlers.execution import ON_CPU, Execution
from torchtowers.handlers.filters import Filters
from torchtowers.handlers.fused import Fused, blocks_of, fused_inputs, load_fused, longest_list, string_lists
from torchtowers.handlers.index import rows_of
from torchtowers.handlers.loading import Served
from torchtowers.handlers.measures import measures
from torchtowers.handlers.query_encoder import EncodedRow, QueryEncoder
from torchtowers.handlers.request import Row
from torchtowers.handlers.token_table import TokenTable
from torchtowers.handlers.tower_search import Found

__all__ = ["FusedSearch"]

# What one block of a batch's rows may take: 256 MB of scores, as many of strings.
_MAX_SCORES = 1 << 26
_MAX_STRINGS = 1 << 22


class FusedSearch:
    """Hands rows to a fused file as they came; its encoder only checks them.

    Args:
        encoder: The query's features.
        fused: The file.
        table: The candidates' ids, in the index's order.

    Raises:
        ArtifactError: The file does not fit the features or the ids.
    """

    def __init__(self, encoder: QueryEncoder, fused: Fused, table: TokenTable) -> None:
        self.encoder = encoder
        self.fused = fused
        self.ids = table.texts
        self._table = table
        self._try_fused()

    @classmethod
    def load(cls, folder: Path, served: Served, execution: Execution = ON_CPU) -> "FusedSearch":
        """Load the fused file and what checks requests; the arguments are those of `TowerSearch.load`.

        Raises:
            ArtifactError: A file is malformed.
            RuntimeUnavailableError: The runtime's library is not installed, or the worker is given a GPU.
        """
        signature = served.signature
        path = folder / signature.served_file
        fused = load_fused(served.runtime, path, execution)
        table = TokenTable.load(folder, served.index.ids)
        return cls(QueryEncoder(signature.query, None, signature.history), fused, table)

    def rows_of(self, ids: Sequence[object]) -> NDArray[np.int64]:
        """Give the rows of those ids that are candidates."""
        return rows_of(self._table, ids)

    def search(self, rows: Sequence[EncodedRow], filters: Filters | None = None) -> Iterator[Found]:
        """Give each row's best items that are allowed; the arguments are those of `TowerSearch.search`."""
        filters = filters or Filters({}, len(self.ids), self.rows_of)
        # The file knows of no restriction, and so it is asked for all candidates where there is one.
        narrowed = [position for position, row in enumerate(rows) if row.row.restriction is not None]
        found = dict(zip(narrowed, self._search([rows[at].row for at in narrowed], filters), strict=True))
        plain = [row.row for row in rows if row.row.restriction is None]
        others = self._search(plain, filters)
        for position in range(len(rows)):
            yield found[position] if position in found else next(others)

    def _search(self, rows: Sequence[Row], filters: Filters) -> Iterator[Found]:
        most = max(1, _MAX_SCORES // max(1, len(self.ids)))
        for block in blocks_of([longest_list(row) for row in rows], _MAX_STRINGS, most):
            own = rows[block]
            with measures.stage("tower"):  # and the index, which is in the same file
                answered = list(self.fused(self._inputs(own)))
            for row, (items, scores) in zip(own, answered, strict=True):
                if row.restriction is None:
                    best = np.array([self._table.get(item, -1) for item in items[: row.k]], np.int64)
                    yield best, scores[: row.k]
                    continue
                best = np.array([self._table.get(item, -1) for item in items], np.int64)
                allowed = filters.allowed(row)
                if allowed is not None:
                    kept = allowed[best]
                    best, scores = best[kept], scores[kept]
                yield filters.cut(row, best, scores)

    def _inputs(self, rows: Sequence[Row]) -> dict[str, NDArray[Any]]:
        inputs = fused_inputs(self.encoder, rows)
        inputs["exclude"] = string_lists([row.exclude for row in rows])
        if self.encoder.history is not None:
            inputs["exclude_history"] = np.array([row.exclude_history for row in rows])
        all_of_them = any(row.restriction is not None for row in rows)
        inputs["k"] = np.array([len(self.ids) if all_of_them else max(row.k for row in rows)])
        return inputs

    def _try_fused(self) -> None:
        """Ask for all candidates once: a file that does not fit is refused while it is loaded."""
        anyone = Row({self.encoder.spec.key: "?"}, k=max(1, len(self.ids)))
        try:
            ((items, _),) = self.fused(self._inputs([anyone]))
        except Exception as error:  # of whichever runtime
            raise ArtifactError(
                f"the fused file does not take the signature's features: {shorten(str(error))}"
            ) from error
        others = [item for item in items if self._table.get(item, -1) < 0]
        if others:
            raise ArtifactError(
                f"the fused file gives {shorten(others[0])}, which is no candidate of the index: "
                "export it again"
            )
