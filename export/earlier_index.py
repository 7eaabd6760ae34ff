"""The index that an artifact has: what becomes of its items in a new one."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from torchtowers.data.id_rows import IdHashes, hashes_of
from torchtowers.export.comparison import TOLERANCE
from torchtowers.export.index_writer import IndexBlock
from torchtowers.export.stored import rounding_of
from torchtowers.handlers.arrays import map_array
from torchtowers.handlers.errors import ArtifactError
from torchtowers.handlers.index_spec import IndexSpec
from torchtowers.handlers.signature import Signature
from torchtowers.handlers.strings import StringTable
from torchtowers.handlers.vectors import Vectors

__all__ = ["EarlierIndex"]

_ROWS_AT_ONCE = 1 << 14


class EarlierIndex:
    """An index whose files are mapped; of the ids, memory holds two hashes each.

    Args:
        folder: The artifact.
        signature: Its signature.
        spec: The signature's index.

    Raises:
        ArtifactError: A file is missing or malformed, or does not fit the signature.
    """

    def __init__(self, folder: Path, signature: Signature, spec: IndexSpec) -> None:
        self._vectors = _map_vectors(folder, spec)
        self._ids = StringTable.load(folder, spec.ids)
        self._columns = {
            name: StringTable.load(folder, column.text) for name, column in signature.columns.items()
        }
        lengths = {len(self._vectors), len(self._ids), *map(len, self._columns.values())}
        if lengths != {spec.size}:
            raise ArtifactError(
                f"the artifact's index has files of {' and '.join(map(str, sorted(lengths)))} items, its "
                f"signature says {spec.size}: export it again"
            )
        self._hashes = IdHashes()
        for first in range(0, len(self), _ROWS_AT_ONCE):
            ids = self._ids.take(range(first, min(first + _ROWS_AT_ONCE, len(self))))
            names = ids.json_values("the index's ids")
            if not all(isinstance(name, str) for name in names):
                raise ArtifactError("the index's ids have to be strings")
            self._hashes.add(hashes_of(pl.Series(names, dtype=pl.String)))

    def __len__(self) -> int:
        return len(self._ids)

    def rows_of(self, hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Give the rows of ids, by what `hashes_of` gives of them, int64 `[ids]`; -1 has none."""
        return self._hashes.find(hashes)

    def missing_in(self, ids: IdHashes) -> NDArray[np.int64]:
        """Give the rows of the items that are not among others, int64, ascending."""
        return np.flatnonzero(ids.find(self._hashes.hashes) < 0)

    def count_equal(self, rows: NDArray[np.int64], block: IndexBlock) -> int:
        """Count the candidates whose embedding, within the tolerance, and columns are those of here.

        Args:
            rows: Each one's row here, int64 `[candidates]`; -1 where there is none.
            block: The candidates.
        """
        known = np.flatnonzero(rows >= 0)
        ours, theirs = self._vectors.take(rows[known]), block.embeddings[known]
        allowed = TOLERANCE * np.maximum(np.abs(ours), 1.0) + rounding_of(self._vectors, rows[known], theirs)
        close = (np.abs(theirs - ours) <= allowed).all(axis=1)
        return sum(
            all(column.raw(row) == block.columns[name].raw(place) for name, column in self._columns.items())
            for row, place in zip(rows[known[close]].tolist(), known[close].tolist(), strict=True)
        )

    def blocks(self, rows: NDArray[np.int64]) -> Iterator[IndexBlock]:
        """Give some rows as they are, a block at a time."""
        for first in range(0, len(rows), _ROWS_AT_ONCE):
            taken = rows[first : first + _ROWS_AT_ONCE]
            columns = {name: column.take(taken.tolist()) for name, column in self._columns.items()}
            yield IndexBlock(self._vectors.take(taken), self._ids.take(taken.tolist()), columns)


def _map_vectors(folder: Path, spec: IndexSpec) -> Vectors:
    # Those that are nearest to what the tower gave.
    if spec.rescoring is not None:
        return Vectors(map_array(folder, spec.rescoring, np.float32, dimensions=2))
    values = map_array(folder, spec.embeddings, np.dtype(spec.dtype).type, dimensions=2)
    return Vectors(values, None if spec.scales is None else map_array(folder, spec.scales, np.float32))
