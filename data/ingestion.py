"""Interactions to rows of users and items: batch by batch, so that memory holds a batch and the ids."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from torchtowers.data.cleaning import Cleaner, column_of
from torchtowers.data.config import DataConfig, SplitConfig
from torchtowers.data.errors import DataError, shorten
from torchtowers.data.id_rows import IdRows
from torchtowers.data.interactions import Interactions
from torchtowers.data.mapped import ROWS_AT_ONCE
from torchtowers.data.readers import reason_of
from torchtowers.data.repeats import count_repeats, without_repeats
from torchtowers.data.splits import part_numbers
from torchtowers.data.tables import PART, Tables
from torchtowers.handlers.encoders import Vocabulary

__all__ = ["Ingested", "batches_of", "ingest"]

_ROW = "row of the table"


@dataclass(frozen=True)
class Ingested:
    """A data set whose ids are rows.

    Args:
        users: The users, each once, in the order of their rows; at least the column of their ids.
        items: The items, likewise.
        pairs: The interactions that are left, in the table's order.
        rows: Each one's row of the interactions' table, int64 `[pairs]`, ascending.
        parts: Which part each one is in, where the data says so, as a place in `PARTS`, uint8 `[pairs]`.
        dropped: How many rows of the tables were left out, by the reason.
        warnings: What a person should look at.
    """

    users: pl.DataFrame
    items: pl.DataFrame
    pairs: Interactions
    rows: NDArray[np.int64]
    parts: NDArray[np.uint8] | None
    dropped: Mapping[str, int]
    warnings: tuple[str, ...]


def ingest(tables: Tables, data: DataConfig, split: SplitConfig, ids: Mapping[str, Vocabulary]) -> Ingested:
    """Clean the tables and give the interactions as rows.

    Args:
        tables: The data set.
        data: Which columns are what.
        split: Of kinds `column` and `files`, the interactions say their part.
        ids: Those of an earlier run, by their column: their rows are kept, and others left out.

    Raises:
        DataError: A column is missing or of the wrong type, rows of one entity differ, a file can't be read,
            or no interaction is left.
    """
    return _Ingestion(data, split).run(tables, ids)


def batches_of(
    table: pl.DataFrame | pl.LazyFrame, *, rows: int = ROWS_AT_ONCE, what: str = "the interactions"
) -> Iterator[tuple[int, pl.DataFrame]]:
    """Give a table's rows in their order, so many at a time, each part with its first row's number.

    Args:
        table: What to read.
        rows: Of a part, at most.
        what: The table's name, for errors.

    Raises:
        DataError: A file can't be read.
    """
    first = 0
    batches = table.lazy().collect_batches(chunk_size=rows, maintain_order=True)
    while True:
        with _readable(what):
            batch = next(batches, None)
        if batch is None:
            return
        yield first, batch
        first += batch.height


class _Ingestion:
    def __init__(self, data: DataConfig, split: SplitConfig) -> None:
        self._data = data
        self._split = split
        self._cleaner = Cleaner(data)
        self._warnings: list[str] = []
        self._unknown = "is not in its table"
        self._strangers: dict[str, str] = {}
        self._rows = 0

    def run(self, tables: Tables, ids: Mapping[str, Vocabulary]) -> Ingested:
        data = self._data
        if ids:
            self._unknown = "the run does not know"
        users = self._entities(tables.users, data.user, ids)
        items = self._entities(tables.items, data.item, ids)
        user_rows, item_rows = _id_rows(users, data.user), _id_rows(items, data.item)
        # Without a row first, so that columns are looked at before millions of rows are read.
        none = _without_rows(tables.interactions)
        self._cleaner.interactions(none)
        pairs = Interactions.stored(
            self._batch(first, batch, user_rows, item_rows)
            for first, batch in chain([(0, none)], batches_of(tables.interactions))
        )
        if not self._rows:
            raise DataError("the interactions' table has no rows: there is nothing to learn from")
        if not len(pairs):
            strangers = "".join(f"; {stranger}" for stranger in self._strangers.values())
            raise DataError(
                f"no interaction is left to learn from; left out were {self._cleaner.told()}{strangers}"
            )
        pairs = self._without_repeats(pairs)
        users = pl.DataFrame({data.user: user_rows.tokens}) if users is None else users
        items = pl.DataFrame({data.item: item_rows.tokens}) if items is None else items
        self._warn_of_unused(items, pairs)
        columns = dict(pairs.context)
        return Ingested(
            users,
            items,
            replace(pairs, context={}),
            columns[_ROW],  # type: ignore[arg-type]
            columns.get(PART),  # type: ignore[arg-type]
            self._cleaner.dropped,
            tuple(self._warnings),
        )

    def _entities(self, table: pl.DataFrame, key: str, ids: Mapping[str, Vocabulary]) -> pl.DataFrame | None:
        """Give an entity's table, in the order of the ids where they are known."""
        known = ids.get(key)
        if not table.width:
            return None if known is None else pl.DataFrame({key: list(known.tokens)})
        table = self._cleaner.entities(table, key)
        if known is None:
            return table
        ordered = pl.DataFrame({key: list(known.tokens)}).join(table, on=key, maintain_order="left")
        if ordered.height < len(known.tokens):
            gone = set(known.tokens).difference(ordered[key])
            raise DataError(
                f"{key}: {len(gone):,} ids that the run was trained with are no longer in their table, such "
                f"as {shorten(min(gone))}: give it the rows back, or train again"
            )
        came_later = table.height - ordered.height
        self._cleaner.count(f"rows of the {key} table that came after training", came_later)
        return ordered.select(table.columns)

    def _batch(self, first: int, batch: pl.DataFrame, users: IdRows, items: IdRows) -> Interactions:
        data = self._data
        self._rows += batch.height
        table = self._cleaner.interactions(batch.with_row_index(_ROW, first))
        user_rows, item_rows = users.encode(table[data.user]), items.encode(table[data.item])
        known = np.flatnonzero((user_rows >= 0) & (item_rows >= 0))
        for key, rows, ids in ((data.user, user_rows, users), (data.item, item_rows, items)):
            unknown = np.flatnonzero(rows < 0)
            self._cleaner.count(f"interactions whose {key} {self._unknown}", len(unknown))
            if len(unknown) and key not in self._strangers:
                stranger = shorten(table[key][int(unknown[0])])
                # A table may have nothing but rows without an id.
                theirs = shorten(next(iter(ids.tokens), "nothing"))
                self._strangers[key] = f"{key} is {stranger} here, and {theirs} in its table"
        extra: dict[str, Any] = {_ROW: table[_ROW].to_numpy().astype(np.int64)}
        if self._split.kind in ("column", "files"):
            name = PART if self._split.kind == "files" else str(self._split.column)
            column = column_of(table.drop(_ROW), name, "split.column", "the interactions' table")
            extra[PART] = part_numbers(column.cast(pl.String), f"split.column {name}")
        return Interactions(
            user_rows,
            item_rows,
            None if data.label is None else table[data.label].to_numpy().astype(np.float32),
            None if data.time is None else table[data.time].to_numpy(),
            extra,
        ).take(known)

    def _without_repeats(self, pairs: Interactions) -> Interactions:
        keep = self._data.duplicates
        repeated = count_repeats(pairs)
        if not repeated:
            return pairs
        if keep == "keep":
            self._warnings.append(
                f"{repeated:,} interactions repeat a user and an item; all are kept (data.duplicates: keep)"
            )
            return pairs
        self._cleaner.count(f"interactions that repeat a user and an item, the {keep} one kept", repeated)
        return pairs.select(without_repeats(pairs, keep))

    def _warn_of_unused(self, items: pl.DataFrame, pairs: Interactions) -> None:
        unused = items.height - int((np.bincount(pairs.items) > 0).sum())
        if unused:
            self._warnings.append(f"{unused:,} items have no interaction; they stay in the catalogue")


def _without_rows(table: pl.DataFrame | pl.LazyFrame) -> pl.DataFrame:
    with _readable("the interactions"):
        return table.lazy().head(0).collect()


@contextmanager
def _readable(what: str) -> Iterator[None]:
    try:
        yield
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{what} can't be read ({reason_of(error)})") from error


def _id_rows(table: pl.DataFrame | None, key: str) -> IdRows:
    return IdRows(None if table is None else table[key])
