"""Which row of an index has which id, kept up to date while rows come and go."""

from collections.abc import Hashable, Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchtowers.models.index import Ids, id_array, python_ids

__all__ = ["IdTable"]


class IdTable:
    """The ids of rows 0, 1, … and the way back.

    Rows may share an id; those of a table that changes may not be added.

    Args:
        ids: `[rows]`, int64 or Python objects, as `id_array` gives them; written over by changes.
    """

    def __init__(self, ids: NDArray[Any]) -> None:
        self._ids = ids
        self._size = len(ids)
        self._first: dict[Hashable, int] | None = None
        self._others: dict[Hashable, list[int]] = {}

    def __len__(self) -> int:
        return self._size

    @property
    def ids(self) -> NDArray[Any]:
        """The rows' ids, `[rows]`."""
        return self._ids[: self._size]

    @property
    def is_unique(self) -> bool:
        """Whether every row has an id of its own."""
        return len(self._rows()) == self._size

    def rows(self, ids: Ids) -> list[int]:
        """Give all rows that have one of these ids, those of unknown ids left out."""
        first = self._rows()
        names = python_ids(ids)
        rows = [row for row in map(first.get, names) if row is not None]
        if self._others:
            rows.extend(chain.from_iterable(self._others.get(name, ()) for name in names))
        return rows

    def row_of_each(self, ids: Ids) -> NDArray[np.int64]:
        """Give the row of each id, the first where several have it, -1 where none has; `[ids]`."""
        first = self._rows()
        return np.array([first.get(name, -1) for name in python_ids(ids)], dtype=np.int64)

    def known_rows(self, ids: Ids) -> NDArray[np.int64]:
        """Give the row of each id, for a change.

        Raises:
            ValueError: An id is unknown, given twice, or shared by several rows.
        """
        names = python_ids(ids)
        _check_once(names)
        rows = self.row_of_each(names)
        _refuse(
            [name for name, row in zip(names, rows, strict=True) if row < 0], "are not in the index: add them"
        )
        _refuse(
            [name for name in names if name in self._others],
            "are shared by several candidates: remove them and add them anew",
        )
        return rows

    def add(self, ids: Ids) -> None:
        """Append rows.

        Raises:
            ValueError: An id is given twice or is there already.
        """
        names = python_ids(ids)
        _check_once(names)
        first = self._rows()
        _refuse([name for name in names if name in first], "are in the index already: update them")
        self._append(id_array(names))
        first.update(zip(names, range(self._size - len(names), self._size), strict=True))

    def remove(self, ids: Ids) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Remove all rows of these ids; the last rows move into the places that become free.

        Returns:
            The free places below the new size, and the rows that move there.

        Raises:
            ValueError: An id is unknown or given twice.
        """
        names = python_ids(ids)
        _check_once(names)
        first = self._rows()
        _refuse([name for name in names if name not in first], "are not in the index")
        gone = np.array(sorted(self.rows(names)), dtype=np.int64)
        size = self._size - len(gone)
        free = gone[gone < size]
        moved = np.setdiff1d(np.arange(size, self._size), gone, assume_unique=True)
        self._ids[free] = self._ids[moved]
        if self._ids.dtype == object:
            self._ids[size : self._size] = None
        self._size = size
        if self._others:
            self._first, self._others = None, {}
        else:
            for name in names:
                del first[name]
            first.update(zip(self._ids[free].tolist(), free.tolist(), strict=True))
        return free, moved

    def _append(self, ids: NDArray[Any]) -> None:
        size = self._size + len(ids)
        dtype = self._ids.dtype
        if len(ids) and dtype != ids.dtype:
            dtype = np.dtype(object) if self._size else ids.dtype
        if size > len(self._ids) or dtype != self._ids.dtype:
            # Half as much again, so that a row added is copied a bounded number of times.
            grown = np.empty(max(size, len(self._ids) * 3 // 2), dtype=dtype)
            grown[: self._size] = self.ids
            self._ids = grown
        self._ids[self._size : size] = ids
        self._size = size

    def _rows(self) -> dict[Hashable, int]:
        if self._first is None:
            names = self.ids.tolist()
            # Backwards, so that of several rows the first stays.
            self._first = dict(zip(reversed(names), range(len(names) - 1, -1, -1), strict=True))
            if len(self._first) < len(names):
                for row, name in enumerate(names):
                    if self._first[name] != row:
                        self._others.setdefault(name, []).append(row)
        return self._first


def _check_once(names: Sequence[Hashable]) -> None:
    if len(set(names)) < len(names):
        seen: set[Hashable] = set()
        twice = [name for name in names if name in seen or seen.add(name)]  # type: ignore[func-returns-value]
        _refuse(twice, "are given twice: give each once")


def _refuse(names: Sequence[Hashable], reason: str) -> None:
    if names:
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        raise ValueError(f"ids {', '.join(map(repr, names[:3]))}{more} {reason}")
