"""Users or items with their features encoded."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from torchtowers.data.column_encoding import Column, encode_columns
from torchtowers.data.ragged import Ragged
from torchtowers.handlers.encoders import Encoder, Vocabulary

__all__ = ["EntityTable", "encode_table", "tower_inputs"]


@dataclass(frozen=True)
class EntityTable:
    """All users, or all items, with their features encoded; row r is the key's token r.

    Args:
        key: The column of the ids; it may be no feature.
        ids: The ids, in the order of the rows.
        encoders: By feature.
        columns: By tensor, `[rows]`, `[rows, width]` or lists.
    """

    key: str
    ids: Vocabulary
    encoders: Mapping[str, Encoder]
    columns: Mapping[str, Column]

    @property
    def tokens(self) -> tuple[str, ...]:
        """The ids, in the order of the rows."""
        return self.ids.tokens

    def __len__(self) -> int:
        return len(self.tokens)

    def take(self, rows: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        """Give some rows as a tower's inputs: by tensor, `[rows]`, `[rows, width]` or `[rows, length]`."""
        return tower_inputs(self.columns, rows)


def encode_table(
    table: pl.DataFrame,
    key: str,
    ids: Vocabulary,
    encoders: Mapping[str, Encoder],
    given: Mapping[str, Column],
) -> EntityTable:
    """Encode every row of a table.

    Args:
        table: The entities, each once.
        key: The column of their ids.
        ids: The ids, in the order of the rows.
        encoders: By feature.
        given: Columns that are encoded already, such as a history.

    Raises:
        DataError: A value does not fit its encoder.
    """
    return EntityTable(key, ids, encoders, encode_columns(table, encoders, given))


def tower_inputs(columns: Mapping[str, Column], rows: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    """Give some encoded rows to a tower: by tensor, `[rows]`, `[rows, width]` or `[rows, length]`."""
    return {
        name: column.take(rows) if isinstance(column, Ragged) else column[rows]
        for name, column in columns.items()
    }
