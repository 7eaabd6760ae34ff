"""Distinct strings and their rows in three memory-mapped files, of which a host's workers share one copy."""

from collections.abc import Iterable
from json.encoder import encode_basestring
from pathlib import Path
from types import TracebackType
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from torchtowers.handlers.arrays import map_array, save_array
from torchtowers.handlers.errors import ArtifactError, shorten
from torchtowers.handlers.strings import StringTable, StringTableWriter

__all__ = ["TokenTable", "TokenTableWriter"]

# Knuth's: CRC-32 of similar strings differs in few bits, and the upper ones of the product are spread.
_SPREAD = 0x9E3779B1
_ALL_BITS = (1 << 32) - 1
_MOST = 1 << 31

_ROWS_AT_ONCE = 1 << 16


class TokenTable:
    """Strings, each kept as its JSON text, and a hash table that finds their rows.

    The hash table is an array of slots, a string's CRC-32 and its row plus 1; 0 is a free slot. The upper
    bits of the spread hash are the slot at which a search begins, and it goes on to the first free one.
    Strings stand in the order of their hashes, so that the same strings give the same bytes.

    Args:
        texts: The JSON texts by row, as `json.dumps(token, ensure_ascii=False)` gives them.
        slots: uint32 `[slots, 2]`.

    Raises:
        ArtifactError: The slots can't be those of the texts.
    """

    def __init__(self, texts: StringTable, slots: NDArray[np.uint32]) -> None:
        rows = slots[:, 1] if slots.ndim == 2 and slots.shape[1] == 2 else slots[:0]
        bits = _bits(len(texts))
        # A free slot at the end, so that every search has one.
        if len(rows) <= 1 << bits or rows[-1] != 0 or rows.max() > len(texts):
            raise ArtifactError(f"a hash table of the shape {slots.shape} does not fit {len(texts)} strings")
        self.texts = texts
        self._slots = slots
        self._flat = slots.reshape(-1).data
        self._shift = 32 - bits

    def __len__(self) -> int:
        return len(self.texts)

    def get(self, token: str, default: int) -> int:
        """Give a string's row, or `default`, as a dictionary does."""
        text = encode_basestring(token).encode("utf-8", "surrogatepass")
        crc = crc32(text)
        place = 2 * ((crc * _SPREAD & _ALL_BITS) >> self._shift)
        flat = self._flat
        while row := flat[place + 1]:
            if flat[place] == crc and self.texts.raw(row - 1) == text:
                return row - 1
            place += 2
        return default

    def rows_in(self, other: "TokenTable") -> NDArray[np.int32]:
        """Give the row that each string has in another table, int32 `[rows]`; -1 has none."""
        rows = np.full(len(self), -1, np.int32)
        for first in range(0, len(self._slots), _ROWS_AT_ONCE):
            part = self._slots[first : first + _ROWS_AT_ONCE]
            part = part[part[:, 1] > 0]
            own = part[:, 1].astype(np.int64) - 1
            places, left = _homes(part[:, 0], other._shift), np.arange(len(own))
            while len(left):
                found = other._slots[places]
                is_held = found[:, 1] > 0
                is_it = is_held & (found[:, 0] == part[left, 0])
                near = np.flatnonzero(is_it)
                theirs = found[near, 1].astype(np.int64) - 1
                is_it[near] = self.texts.equal(own[left[near]], other.texts, theirs)
                rows[own[left[is_it]]] = found[is_it, 1].astype(np.int64) - 1
                go_on = is_held & ~is_it
                left, places = left[go_on], places[go_on] + 1
        return rows

    def tokens(self) -> tuple[str, ...]:
        """Give all strings, by row."""
        return tuple(self.texts.json_values("the strings of a table"))

    def check(self, place: str) -> None:
        """Read all of it: are these the JSON texts of distinct strings, and the slots theirs?

        Raises:
            ArtifactError: They are not; `place` names the table.
        """
        for first in range(0, len(self), _ROWS_AT_ONCE):
            part = self.texts.take(range(first, min(first + _ROWS_AT_ONCE, len(self))))
            for row, token in enumerate(part.json_values(place)):
                if not isinstance(token, str):
                    raise ArtifactError(f"{place} have to be strings, got {shorten(token)}")
                if encode_basestring(token).encode("utf-8", "surrogatepass") != part.raw(row):
                    raise ArtifactError(f"{place}: {shorten(token)} is not written as export writes it")
        try:
            slots = _slots_of(self.texts, _hashes_of(self.texts))
        except ValueError as error:
            raise ArtifactError(f"{place}: {error}") from error
        if not np.array_equal(slots, self._slots):
            raise ArtifactError(f"{place}: their hash table is of other strings; export again")

    @classmethod
    def of(cls, tokens: Iterable[str]) -> "TokenTable":
        """Pack distinct strings.

        Raises:
            ValueError: One is no string, or is there twice.
        """
        packed = StringTable.of(map(_text_of, tokens))
        return cls(packed, _slots_of(packed, _hashes_of(packed)))

    @staticmethod
    def files(stem: str) -> tuple[str, ...]:
        """Name the files of a table: those of its texts, and the hash table."""
        return (*StringTable.files(stem), f"{stem}.slots.npy")

    def save(self, folder: Path, stem: str) -> None:
        """Write the files."""
        self.texts.save(folder, stem)
        save_array(folder, self.files(stem)[-1], self._slots)

    @classmethod
    def load(cls, folder: Path, stem: str) -> "TokenTable":
        """Map what `save` wrote.

        Raises:
            ArtifactError: A file is missing or malformed.
        """
        slots = map_array(folder, cls.files(stem)[-1], np.uint32, dimensions=2)
        try:
            return cls(StringTable.load(folder, stem), slots)
        except ArtifactError as error:
            raise ArtifactError(f"{stem} in {folder.name}: {error}") from error


class TokenTableWriter:
    """Writes a table's files a part at a time; a context manager: they are complete when that ends well.

    Args:
        folder: Where the files go.
        stem: Of their names.

    Raises:
        ArtifactError: At the end, where a string came twice.
    """

    def __init__(self, folder: Path, stem: str) -> None:
        self._folder = folder
        self._stem = stem
        self._texts = StringTableWriter(folder, stem)
        self._hashes: list[NDArray[np.uint32]] = []

    def append(self, texts: StringTable) -> None:
        """Write further strings, as their JSON texts."""
        self._texts.append(texts)
        self._hashes.append(_hashes_of(texts))

    def __enter__(self) -> "TokenTableWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._texts.__exit__(kind, error, trace)
        if kind is not None:
            return
        hashes = np.concatenate([np.empty(0, np.uint32), *self._hashes])
        try:
            slots = _slots_of(StringTable.load(self._folder, self._stem), hashes)
        except ValueError as twice:
            raise ArtifactError(f"{self._stem}: {twice}") from twice
        save_array(self._folder, TokenTable.files(self._stem)[-1], slots)


def _text_of(token: object) -> str:
    if not isinstance(token, str):
        raise ValueError(f"tokens have to be strings, got {shorten(token)}")
    return encode_basestring(token)


def _bits(rows: int) -> int:
    """Give the bits of a slot's number: at least two slots a row."""
    return max(1, (2 * rows - 1).bit_length()) if rows else 1


def _hashes_of(texts: StringTable) -> NDArray[np.uint32]:
    return np.fromiter((crc32(texts.raw(row)) for row in range(len(texts))), np.uint32, len(texts))


def _homes(hashes: NDArray[np.uint32], shift: int) -> NDArray[np.int64]:
    homes: NDArray[np.int64] = ((hashes * np.uint32(_SPREAD)) >> np.uint32(shift)).astype(np.int64)
    return homes


def _slots_of(texts: StringTable, hashes: NDArray[np.uint32]) -> NDArray[np.uint32]:
    if len(texts) > _MOST:
        raise ValueError(f"a table holds at most {_MOST:,} strings, got {len(texts):,}")
    bits = _bits(len(texts))
    order = np.argsort(hashes * np.uint32(_SPREAD), kind="stable")
    hashes = hashes[order]
    _check_distinct(texts, hashes, order)
    numbers = np.arange(len(order))
    # Each at its home, or behind the one before it.
    places = np.maximum.accumulate(_homes(hashes, 32 - bits) - numbers) + numbers
    slots = np.zeros((max(1 << bits, int(places[-1]) + 1 if len(places) else 0) + 1, 2), np.uint32)
    slots[places, 0] = hashes
    slots[places, 1] = order + 1
    return slots


def _check_distinct(texts: StringTable, hashes: NDArray[np.uint32], order: NDArray[np.int64]) -> None:
    """Compare the strings of equal hashes, which are neighbours."""
    is_equal = hashes[1:] == hashes[:-1]
    rows = order[np.append(is_equal, False) | np.append(False, is_equal)] if len(order) else order
    seen: set[bytes] = set()
    for row in rows.tolist():
        text = texts.raw(row)
        if text in seen:
            raise ValueError(f"{shorten(text.decode('utf-8', 'surrogatepass'))} is there twice")
        seen.add(text)
