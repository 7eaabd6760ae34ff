"""A file of items, as a run's are read: checked and read a part at a time."""

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from torchtowers.data.cleaning import column_of, with_ids
from torchtowers.data.column_types import checked_column
from torchtowers.data.errors import DataError, shorten
from torchtowers.data.id_rows import IdHashes, hashes_of
from torchtowers.data.ingestion import batches_of
from torchtowers.data.readers import scan_table, table_files
from torchtowers.handlers.encoders import Encoder
from torchtowers.handlers.signature import sha256_of

__all__ = ["ItemFile"]

# Few enough that a vector of thousands of numbers a row takes some hundred megabytes.
_ROWS_AT_ONCE = 1 << 14
_WHAT = "the items' table"


class ItemFile:
    """Items with their ids, the candidate tower's features and item columns.

    Args:
        path: A file, a folder of shards, or a pattern; Parquet, CSV or TSV.
        key: The column of the ids.
        encoders: Of the candidate tower's features.
        columns: Item columns that an answer can carry.

    Raises:
        DataError: There is no such file, it is no table, or a column is missing.
    """

    def __init__(
        self, path: str | Path, key: str, encoders: Mapping[str, Encoder], columns: Collection[str]
    ) -> None:
        self.path = path
        self.key = key
        self._encoders = encoders
        table = scan_table(path, (key,))
        names = pl.DataFrame(schema=table.collect_schema())
        column_of(names, key, "the items' ids", _WHAT)
        for name, encoder in encoders.items():
            checked_column(names, name, encoder, "item")
        for name in columns:
            column_of(names, name, "data.columns", _WHAT)
        self._table = table.select(list(dict.fromkeys((key, *encoders, *columns))))

    @property
    def sources(self) -> list[dict[str, str]]:
        """Each file's name and sha256."""
        return [{"file": file.name, "sha256": sha256_of(file)} for file in table_files(self.path)]

    def ids(self) -> tuple[IdHashes, int]:
        """Read the ids alone; gives them, and the number of rows that have none and are left out.

        Raises:
            DataError: An id is there twice, or is neither text nor an integer, or there is no item.
        """
        ids, left_out = IdHashes(), 0
        for rows, identified in self._identified(self._table.select(self.key)):
            left_out += rows - identified.height
            hashes = hashes_of(identified[self.key])
            again = (ids.find(hashes) >= 0) | _repeats(hashes)
            if again.any():
                raise DataError(
                    f"{self.path}: {self.key} {shorten(identified[self.key][int(again.argmax())])} is there "
                    "twice: keep one row of each item"
                )
            ids.add(hashes)
        if not len(ids):
            rest = f", only {left_out:,} rows without {self.key}" if left_out else ""
            raise DataError(f"{self.path}: there is no item in it{rest}; an index needs at least one")
        return ids, left_out

    def parts(self) -> Iterator[pl.DataFrame]:
        """Give the items in their order, a part at a time, ids as text; rows without one are left out.

        Raises:
            DataError: A column is of the wrong type, or can't be read.
        """
        for _, table in self._identified(self._table):
            for name, encoder in self._encoders.items():
                checked_column(table, name, encoder, "item")
            yield table

    def _identified(self, table: pl.LazyFrame) -> Iterator[tuple[int, pl.DataFrame]]:
        for _, batch in batches_of(table, rows=_ROWS_AT_ONCE, what=str(self.path)):
            yield batch.height, with_ids(batch, self.key)


def _repeats(hashes: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Tell which ids came before in the same part."""
    repeats = np.ones(hashes.shape[1], dtype=np.bool_)
    repeats[np.unique(hashes, axis=1, return_index=True)[1]] = False
    return repeats
