"""Ids to rows of their table, in the order in which they come."""

import numpy as np
import polars as pl
from numpy.typing import NDArray

__all__ = ["IdHashes", "IdRows", "hashes_of"]

_SEEDS = (1, 2)


class IdHashes:
    """Numbers ids as they are added, and keeps two hashes of 64 bits of each in place of the id.

    `hashes` are these, uint64 `[2, ids]`. That both of them agree for two ids is less likely, among a billion
    ids, than a fault of the memory.

    Example:
        >>> ids = IdHashes()
        >>> ids.add(hashes_of(pl.Series(["b", "a"])))
        >>> ids.find(hashes_of(pl.Series(["a", "c"]))).tolist()
        [1, -1]
    """

    def __init__(self) -> None:
        # An open-addressing table: the row whose id's first hash begins a search at this slot, or -1.
        self._slots = np.full(1 << 10, -1, dtype=np.int64)
        self.hashes = np.empty((2, 0), dtype=np.uint64)

    def __len__(self) -> int:
        return self.hashes.shape[1]

    def find(self, hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Give the rows of ids, by what `hashes_of` gives of them, int64 `[ids]`; -1 has none."""
        rows = np.full(hashes.shape[1], -1, dtype=np.int64)
        if not len(self):
            return rows
        slots, left = self._first_slots(hashes), np.arange(len(rows))
        while len(left):
            found = self._slots[slots]
            is_it = (found >= 0) & (self.hashes[0, found] == hashes[0, left])
            is_it &= self.hashes[1, found] == hashes[1, left]
            rows[left[is_it]] = found[is_it]
            go_on = (found >= 0) & ~is_it
            slots, left = (slots[go_on] + 1) & (len(self._slots) - 1), left[go_on]
        return rows

    def add(self, hashes: NDArray[np.uint64]) -> None:
        """Give ids that are not there yet, each once, the rows that follow."""
        rows = np.arange(len(self), len(self) + hashes.shape[1])
        self.hashes = np.concatenate([self.hashes, hashes], axis=1)
        if 2 * len(self) > len(self._slots):
            self._slots = np.full(1 << (4 * len(self)).bit_length(), -1, dtype=np.int64)
            rows = np.arange(len(self))
        slots = self._first_slots(self.hashes[:, rows])
        while len(rows):
            is_free = self._slots[slots] < 0
            self._slots[slots[is_free]] = rows[is_free]
            # Of several rows that want one slot, one has it now.
            go_on = self._slots[slots] != rows
            slots, rows = (slots[go_on] + 1) & (len(self._slots) - 1), rows[go_on]

    def _first_slots(self, hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
        slots: NDArray[np.int64] = (hashes[0] & np.uint64(len(self._slots) - 1)).astype(np.int64)
        return slots


class IdRows:
    """Numbers ids: the known ones in their order, then, unless there may be no others, new ones as they come.

    `tokens` are the ids in the order of their rows.

    Args:
        known: Ids that have a row, text, each once; None begins with none, and every id gets a row.

    Example:
        >>> ids = IdRows()
        >>> ids.encode(pl.Series(["b", "a", "b"])).tolist(), ids.tokens
        ([0, 1, 0], ['b', 'a'])
        >>> IdRows(pl.Series(["a"])).encode(pl.Series(["b", "a"])).tolist()
        [-1, 0]
    """

    def __init__(self, known: pl.Series | None = None) -> None:
        self.tokens: list[str] = []
        self._rows = IdHashes()
        if known is not None:
            self._add(known, hashes_of(known))
        self._closed = known is not None

    def encode(self, ids: pl.Series) -> NDArray[np.int64]:
        """Give the rows of ids that are text without nulls, int64 `[ids]`; -1 has none."""
        hashes = hashes_of(ids)
        rows = self._rows.find(hashes)
        while not self._closed and len(new := np.flatnonzero(rows < 0)):
            _, firsts = np.unique(hashes[0, new], return_index=True)
            added = new[np.sort(firsts)]
            self._add(ids[added], hashes[:, added])
            rows[new] = self._rows.find(hashes[:, new])
        return rows

    def _add(self, ids: pl.Series, hashes: NDArray[np.uint64]) -> None:
        self.tokens.extend(ids.to_list())
        self._rows.add(hashes)


def hashes_of(ids: pl.Series) -> NDArray[np.uint64]:
    """Give two hashes of each id, text without nulls, uint64 `[2, ids]`."""
    return np.stack([ids.hash(seed).to_numpy() for seed in _SEEDS])
