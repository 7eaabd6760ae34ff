"""Pairs of a user and an item, with what is known of each."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchtowers.data.column_encoding import Column, taken
from torchtowers.data.mapped import Growing, spans
from torchtowers.data.ragged import Ragged

__all__ = ["Interactions", "stored_columns"]


_CONTEXT = "context "


@dataclass(frozen=True)
class Interactions:
    """Pairs of a user and an item, as rows of their tables.

    Args:
        users: int64 `[pairs]`.
        items: int64 `[pairs]`.
        labels: Ratings or clicks, float32 `[pairs]`; None where the data has none.
        times: Seconds since 1970, int64 `[pairs]`; None where the data has none.
        context: Encoded features of the interactions themselves, by name.
    """

    users: NDArray[np.int64]
    items: NDArray[np.int64]
    labels: NDArray[np.float32] | None = None
    times: NDArray[np.int64] | None = None
    context: Mapping[str, Column] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.users)

    def take(self, rows: NDArray[np.int64]) -> "Interactions":
        """Give some of them, int64 `[batch]`."""
        return Interactions(
            self.users[rows],
            self.items[rows],
            None if self.labels is None else self.labels[rows],
            None if self.times is None else self.times[rows],
            {name: taken(column, rows) for name, column in self.context.items()},
        )

    def turned(self) -> "Interactions":
        """Give them with users and items in each other's place, for what goes by item."""
        return replace(self, users=self.items, items=self.users)

    def select(self, rows: NDArray[np.int64]) -> "Interactions":
        """Give any number of them, int64 `[rows]`, as mapped arrays."""
        return self.stored(self.take(rows[first:last]) for first, last in spans(len(rows)))

    def joined(self, other: "Interactions") -> "Interactions":
        """Give these and others behind them, as mapped arrays."""
        return self.stored([*self._parts(), *other._parts()])

    @classmethod
    def stored(cls, parts: Iterable["Interactions"]) -> "Interactions":
        """Put parts of the same kind, at least one, behind each other in mapped arrays."""
        stored: dict[str, Any] = stored_columns(part._columns() for part in parts)
        context = {
            name.removeprefix(_CONTEXT): column
            for name, column in stored.items()
            if name.startswith(_CONTEXT)
        }
        return cls(stored["users"], stored["items"], stored.get("labels"), stored.get("times"), context)

    def _columns(self) -> dict[str, Column]:
        own = {"users": self.users, "items": self.items}
        given: dict[str, Any] = {"labels": self.labels, "times": self.times}
        known = {name: column for name, column in given.items() if column is not None}
        return {**own, **known, **{_CONTEXT + name: column for name, column in self.context.items()}}

    def _parts(self) -> Iterator["Interactions"]:
        for first, last in spans(len(self)):
            yield self.take(np.arange(first, last))


def stored_columns(parts: Iterable[Mapping[str, Column]]) -> dict[str, Column]:
    """Put parts of columns behind each other in mapped arrays; no part gives no column."""
    grown: dict[str, _GrowingColumn] = {}
    for part in parts:
        for name, column in part.items():
            grown.setdefault(name, _GrowingColumn(column)).append(column)
    return {name: column.finish() for name, column in grown.items()}


class _GrowingColumn:
    """A column that grows at its end, of the kind that its first part is of."""

    def __init__(self, first: Column) -> None:
        values = first.values if isinstance(first, Ragged) else first
        self._values = Growing(values.dtype, values.shape[1] if values.ndim > 1 else None)
        self._offsets = Growing(np.int64) if isinstance(first, Ragged) else None
        self._last = 0
        if self._offsets is not None:
            self._offsets.append(np.zeros(1, dtype=np.int64))

    def append(self, part: Column) -> None:
        if isinstance(part, Ragged):
            assert self._offsets is not None
            self._values.append(part.values)
            self._offsets.append(part.offsets[1:] + self._last)
            self._last += int(part.offsets[-1])
        else:
            self._values.append(part)

    def finish(self) -> Column:
        values = self._values.finish()
        return values if self._offsets is None else Ragged(values, self._offsets.finish())
