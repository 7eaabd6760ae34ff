"""One column of the items: its JSON text for answers, and its values in memory-mapped arrays for filters."""

import json
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchtowers.handlers.arrays import map_array
from torchtowers.handlers.checks import finite_float
from torchtowers.handlers.column_spec import ColumnSpec
from torchtowers.handlers.errors import ArtifactError, FieldError, LimitError
from torchtowers.handlers.strings import StringTable, check_offsets

__all__ = ["Condition", "ItemColumn"]

_MISSING = -1
_VALUE = {"number": "a number", "text": "a text", "other": "a text, a number, true or false"}


@dataclass(frozen=True, slots=True)
class Condition:
    """What a filter asks of one column.

    Args:
        column: Its name.
        values: One of these; None where it is a range.
        least: The range's lower end, which is in it.
        most: Its upper end, likewise.
    """

    column: str
    values: tuple[float, ...] | tuple[bytes, ...] | None
    least: float = -np.inf
    most: float = np.inf


class ItemColumn:
    """A column's values by the items' rows in the index.

    Args:
        text: Each item's value as JSON text.
        kind: Of `ColumnSpec`.
        values: Numbers, float64 with NaN for a missing one, or else int32 places in `distinct`, -1 for a
            missing one; `[items]`, or of lists `[sum of their lengths]`.
        distinct: The distinct texts, or values as JSON text, ascending; None for numbers.
        starts: Of lists, where each begins, int64 `[items + 1]`; None where an item has one value.
    """

    def __init__(
        self,
        text: StringTable,
        kind: str,
        values: NDArray[Any],
        distinct: StringTable | None = None,
        starts: NDArray[np.int64] | None = None,
    ) -> None:
        self.text = text
        self.kind = kind
        self.values = values
        self.distinct = distinct
        self.starts = starts

    def __len__(self) -> int:
        return len(self.text)

    def raw(self, row: int) -> bytes:
        """Give an item's value as JSON text."""
        return self.text.raw(row)

    def condition(self, name: str, value: object, field: str, most: int) -> Condition:
        """Check what a request asks of this column.

        Args:
            name: The column's.
            value: A value, a list of which an item needs one, or `{"min": …, "max": …}`, both ends in it and
                one of them enough. An item with a list needs one element that fits.
            field: Where it stands.
            most: Values that a list may have.

        Raises:
            FieldError: It is of the wrong kind.
            LimitError: The list is too long.
        """
        if isinstance(value, Mapping):
            return self._range(name, value, field)
        if not isinstance(value, list):
            return Condition(name, (self._key(value, field),))
        if len(value) > most:
            raise LimitError(f"{field}: at most {most} values, got {len(value)}", field=field)
        keys = {self._key(element, f"{field}[{place}]") for place, element in enumerate(value)}
        return Condition(name, tuple(sorted(keys)))

    def mask(self, condition: Condition) -> NDArray[np.bool_]:
        """Tell which items fit, `[items]`; one whose value is missing never does."""
        fits = self._fits(condition)
        if self.starts is None:
            return fits
        # How many fit up to each item's end and up to its beginning.
        counts = np.concatenate([np.zeros(1, np.int32), np.cumsum(fits, dtype=np.int32)])
        return np.asarray(counts[self.starts[1:]] > counts[self.starts[:-1]])

    def values_of(self, row: int) -> list[float]:
        """Give what stands for an item's values: equal numbers for equal ones, none for a missing one."""
        own = slice(row, row + 1) if self.starts is None else slice(self.starts[row], self.starts[row + 1])
        values: list[float] = self.values[own].tolist()
        # NaN is unequal to itself.
        return [value for value in values if value != _MISSING or self.kind == "number" if value == value]

    def _fits(self, condition: Condition) -> NDArray[np.bool_]:
        values = self.values
        if condition.values is None:
            return np.asarray((values >= condition.least) & (values <= condition.most))
        keys: Sequence[Any] = condition.values
        if self.distinct is not None:
            keys = [place for key in keys if (place := self._place(key)) is not None]
        if len(keys) == 1:
            return np.asarray(values == keys[0])
        if self.distinct is None:
            return np.isin(values, np.array(keys, np.float64))
        # By a table of all distinct values; a missing one, -1, looks at its last entry.
        wanted = np.zeros(len(self.distinct) + 1, np.bool_)
        wanted[np.array(keys, np.int64)] = True
        return np.asarray(wanted[values])

    def _place(self, key: bytes) -> int | None:
        distinct = self.distinct
        if distinct is None:
            return None
        place = bisect_left(range(len(distinct)), key, key=distinct.raw)
        return place if place < len(distinct) and distinct.raw(place) == key else None

    def _key(self, value: object, field: str) -> Any:
        """Give what a request's value is compared as."""
        if self.kind == "number":
            number = finite_float(value)
            if number is not None:
                return number
        elif isinstance(value, str):
            # Half of a surrogate pair is in no file, and is not to be an error either.
            text = value if self.kind == "text" else json.dumps(value, ensure_ascii=False)
            return text.encode("utf-8", "surrogatepass")
        elif self.kind == "other" and isinstance(value, bool | int | float) and value == value:
            return json.dumps(value).encode()
        expected = _VALUE[self.kind]
        raise FieldError(field, value, f"{expected}, a list of them{self._or_range()}")

    def _or_range(self) -> str:
        return ', or {"min": number, "max": number}' if self.kind == "number" else ""

    def _range(self, name: str, value: Mapping[Any, Any], field: str) -> Condition:
        if self.kind != "number":
            raise FieldError(field, value, f"{_VALUE[self.kind]} or a list of them; only numbers have ranges")
        ends = {"min": -np.inf, "max": np.inf}
        if not value or value.keys() - ends.keys():
            raise FieldError(field, value, 'a range such as {"min": 1990, "max": 1999}')
        for end, given in value.items():
            number = finite_float(given)
            if number is None:
                raise FieldError(f"{field}.{end}", given, "a finite number")
            ends[end] = number
        return Condition(name, None, ends["min"], ends["max"])

    @classmethod
    def load(cls, folder: Path, spec: ColumnSpec, items: int) -> "ItemColumn":
        """Map what export wrote.

        Raises:
            ArtifactError: A file is missing or malformed, or is not of that many items.
        """
        place = f"{spec.text} in {folder.name}"
        text = StringTable.load(folder, spec.text)
        distinct = None if spec.kind == "number" else StringTable.load(folder, spec.distinct)
        values = map_array(folder, spec.values, np.float64 if distinct is None else np.int32)
        starts = map_array(folder, spec.starts, np.int64) if spec.is_list else None
        if starts is not None:
            check_offsets(starts, len(values), place)
        lengths = {len(text), len(values) if starts is None else len(starts) - 1}
        if lengths != {items}:
            raise ArtifactError(f"{place} has {' and '.join(map(str, lengths))} values for {items} items")
        if distinct is not None and len(values):
            least, most = int(values.min()), int(values.max())
            if least < _MISSING or most >= len(distinct):
                raise ArtifactError(f"{place}: places from {least} to {most} of {len(distinct)} values")
        return cls(text, spec.kind, values, distinct, starts)
