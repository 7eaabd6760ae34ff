"""Which row of an index has which id, kept up to date while rows come and go."""

from collections.abc import Hashable, Sequence
from itertools import chain
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from torchtowers.models.index import Ids, check_kinds, id_array, id_kinds, python_ids

__all__ = ["IdTable"]


# One for all, since a table that has a lock of its own can't be copied.
_BUILDING = Lock()


class _Known(NamedTuple):
    """What is known of ids: each one's first row, its other rows, and the kinds of all."""

    first: dict[Hashable, int]
    others: dict[Hashable, list[int]]
    kinds: frozenset[str]


class IdTable:
    """The ids of rows 0, 1, … and the way back.

    Rows may share an id; those of a table that changes may not be added. Ids that are asked for or changed
    raise a `TypeError` where they are numbers, text or bytes and those of the table are never that.

    Args:
        ids: `[rows]`, int64 or Python objects, as `id_array` gives them; written over by changes.
    """

    def __init__(self, ids: NDArray[Any]) -> None:
        self._ids = ids
        self._size = len(ids)
        self._found: _Known | None = None

    def __len__(self) -> int:
        return self._size

    @property
    def ids(self) -> NDArray[Any]:
        """The rows' ids, `[rows]`: a view to read, which changes of rows write over."""
        ids = self._ids[: self._size]
        ids.flags.writeable = False
        return ids

    @property
    def is_unique(self) -> bool:
        """Whether every row has an id of its own."""
        return len(self._known().first) == self._size

    def rows(self, ids: Ids) -> list[int]:
        """Give all rows that have one of these ids, those of unknown ids left out."""
        known = self._known()
        names = _asked(ids, known)
        rows = [row for row in map(known.first.get, names) if row is not None]
        if known.others:
            rows.extend(chain.from_iterable(known.others.get(name, ()) for name in names))
        return rows

    def row_of_each(self, ids: Ids) -> NDArray[np.int64]:
        """Give the row of each id, the first where several have it, -1 where none has; `[ids]`."""
        known = self._known()
        return np.array([known.first.get(name, -1) for name in _asked(ids, known)], dtype=np.int64)

    def known_rows(self, ids: Ids) -> NDArray[np.int64]:
        """Give the row of each id, for a change.

        Raises:
            ValueError: An id is unknown, given twice, or shared by several rows.
        """
        names, others = python_ids(ids), self._known().others
        _check_once(names)
        rows = self.row_of_each(names)
        _refuse(
            [name for name, row in zip(names, rows, strict=True) if row < 0], "are not in the index: add them"
        )
        _refuse(
            [name for name in names if name in others],
            "are shared by several candidates: remove them and add them anew",
        )
        return rows

    def add(self, ids: Ids) -> None:
        """Append rows.

        Raises:
            ValueError: An id is given twice or is there already.
        """
        self.check_new(ids)
        names, known = python_ids(ids), self._known()
        self._append(id_array(names))
        known.first.update(zip(names, range(self._size - len(names), self._size), strict=True))
        self._found = known._replace(kinds=known.kinds | id_kinds(names))

    def check_new(self, ids: Ids) -> None:
        """Check that these ids can be added.

        Raises:
            ValueError: An id is given twice or is there already.
        """
        names = python_ids(ids)
        _check_once(names)
        first = self._known().first
        _refuse([name for name in names if name in first], "are in the index already: update them")

    def remove(self, ids: Ids) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Remove all rows of these ids; the last rows move into the places that become free.

        Returns:
            The free places below the new size, and the rows that move there.

        Raises:
            ValueError: An id is unknown or given twice.
        """
        free, moved = self.moves(ids)
        names, known = python_ids(ids), self._known()
        first, size = known.first, self._size - len(self.rows(names))
        self._ids[free] = self._ids[moved]
        if self._ids.dtype == object:
            self._ids[size : self._size] = None
        self._size = size
        if known.others or not size:
            kinds = known.kinds if size else frozenset()
            self._found = _known_of(self.ids)._replace(kinds=kinds)
        else:
            for name in names:
                del first[name]
            first.update(zip(self._ids[free].tolist(), free.tolist(), strict=True))
        return free, moved

    def moves(self, ids: Ids) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Give what `remove` gives, and remove nothing.

        Raises:
            ValueError: An id is unknown or given twice.
        """
        known = self._known()
        names = _asked(ids, known)
        _check_once(names)
        _refuse([name for name in names if name not in known.first], "are not in the index")
        gone = np.array(sorted(self.rows(names)), dtype=np.int64)
        size = self._size - len(gone)
        moved = np.setdiff1d(np.arange(size, self._size), gone, assume_unique=True)
        return gone[gone < size], moved

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

    def _known(self) -> _Known:
        known = self._found
        if known is None:
            # So that no search puts what was before a change in the place of what is after it.
            with _BUILDING:
                known = self._found
                if known is None:
                    known = self._found = _known_of(self.ids)
        return known


def _known_of(ids: NDArray[Any]) -> _Known:
    names = ids.tolist()
    # Backwards, so that of several rows the first stays.
    first = dict(zip(reversed(names), range(len(names) - 1, -1, -1), strict=True))
    others: dict[Hashable, list[int]] = {}
    if len(first) < len(names):
        for row, name in enumerate(names):
            if first[name] != row:
                others.setdefault(name, []).append(row)
    return _Known(first, others, id_kinds(ids))


def _asked(ids: Ids, known: _Known) -> list[Hashable]:
    """Give ids as Python values, all of kinds that are known."""
    names = python_ids(ids)
    check_kinds(known.kinds, names)
    return names


def _check_once(names: Sequence[Hashable]) -> None:
    if len(set(names)) < len(names):
        seen: set[Hashable] = set()
        twice = [name for name in names if name in seen or seen.add(name)]  # type: ignore[func-returns-value]
        _refuse(twice, "are given twice: give each once")


def _refuse(names: Sequence[Hashable], reason: str) -> None:
    if names:
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        raise ValueError(f"ids {', '.join(map(repr, names[:3]))}{more} {reason}")
