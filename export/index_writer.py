"""An index written a block at a time: embeddings, ids and item columns; memory holds a block."""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from torchtowers.export.errors import ExportError
from torchtowers.handlers.arrays import ArrayWriter
from torchtowers.handlers.index_spec import IndexSpec
from torchtowers.handlers.strings import StringTable, StringTableWriter
from torchtowers.handlers.token_table import TokenTableWriter
from torchtowers.handlers.vectors import quantized

__all__ = ["IndexBlock", "IndexWriter"]


class IndexBlock:
    """Some candidates.

    Args:
        embeddings: float32 `[candidates, dim]`.
        ids: Their ids, as JSON text.
        columns: By the item column, its values as JSON text.
    """

    def __init__(
        self, embeddings: NDArray[np.float32], ids: StringTable, columns: Mapping[str, StringTable]
    ) -> None:
        self.embeddings = embeddings
        self.ids = ids
        self.columns = columns

    def __len__(self) -> int:
        return len(self.ids)


class IndexWriter:
    """Writes an index's files; a context manager: they are complete when that ends well.

    Args:
        folder: The artifact.
        spec: Names the files, and the dimension.
        columns: By the item column, the stem of its files.
    """

    def __init__(self, folder: Path, spec: IndexSpec, columns: Mapping[str, str]) -> None:
        self._spec = spec
        self._size = 0
        self._files = ExitStack()
        enter = self._files.enter_context
        row = (spec.dimension,)
        self._values = enter(ArrayWriter(folder, spec.embeddings, spec.dtype, row))
        self._scales = self._rescoring = None
        if spec.scales is not None:
            self._scales = enter(ArrayWriter(folder, spec.scales, np.float32))
        if spec.rescoring is not None:
            self._rescoring = enter(ArrayWriter(folder, spec.rescoring, np.float32, row))
        self._ids = enter(TokenTableWriter(folder, spec.ids))
        self._columns = {name: enter(StringTableWriter(folder, stem)) for name, stem in columns.items()}

    @property
    def spec(self) -> IndexSpec:
        """What the signature says of the index, with as many candidates as were written."""
        return replace(self._spec, size=self._size)

    def append(self, block: IndexBlock) -> None:
        """Write further candidates.

        Raises:
            ExportError: A value is not finite; its candidate is named.
        """
        finite = np.isfinite(block.embeddings).all(axis=1)
        if not finite.all():
            row = int(np.flatnonzero(~finite)[0])
            raise ExportError(
                f"the embedding of item {block.ids[row]} has values that are not finite: the towers were not "
                "trained for such an item; train again with lower learning rates"
            )
        vectors = quantized(block.embeddings, self._spec.dtype)
        self._values.append(vectors.values)
        if self._scales is not None and vectors.scales is not None:
            self._scales.append(vectors.scales)
        if self._rescoring is not None:
            self._rescoring.append(block.embeddings)
        self._ids.append(block.ids)
        for name, writer in self._columns.items():
            writer.append(block.columns[name])
        self._size += len(block)

    def __enter__(self) -> "IndexWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._files.__exit__(kind, error, trace)
