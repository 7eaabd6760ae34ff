"""Many strings in two memory-mapped files, so that the workers of a host share one copy."""

import json
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchtowers.handlers.arrays import ArrayWriter, map_array
from torchtowers.handlers.errors import ArtifactError, shorten

__all__ = ["StringTable", "StringTableWriter", "check_offsets"]

_FEW_BYTES = 1 << 20


class StringTable:
    """Strings by row, as one block of UTF-8 and the offsets where each begins.

    Args:
        block: uint8 `[bytes]`.
        offsets: int64 `[rows + 1]`.
    """

    def __init__(self, block: NDArray[np.uint8], offsets: NDArray[np.int64]) -> None:
        self._block = block
        self._offsets = offsets
        # Of single elements, these are several times as fast as the arrays; a copy of few bytes most of all.
        self._bytes = block.tobytes() if block.nbytes <= _FEW_BYTES else block.data
        self._begins = offsets.data

    @classmethod
    def of(cls, strings: Iterable[str]) -> "StringTable":
        """Pack strings."""
        return cls.of_bytes([string.encode() for string in strings])

    @classmethod
    def of_bytes(cls, encoded: Sequence[bytes]) -> "StringTable":
        """Pack strings that are UTF-8 already."""
        offsets = np.zeros(len(encoded) + 1, dtype=np.int64)
        np.cumsum([len(string) for string in encoded], out=offsets[1:])
        return cls(np.frombuffer(b"".join(encoded), dtype=np.uint8), offsets)

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def raw(self, row: int) -> bytes:
        """Give one string as UTF-8."""
        string = self._bytes[self._begins[row] : self._begins[row + 1]]
        return string if isinstance(string, bytes) else string.tobytes()

    def __getitem__(self, row: int) -> str:
        return self.raw(row).decode()

    def take(self, rows: Iterable[int]) -> "StringTable":
        """Give some rows as a table of their own."""
        return self.of_bytes([self.raw(row) for row in rows])

    def equal(
        self, rows: NDArray[np.int64], other: "StringTable", others: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        """Compare strings with those of another table, pair by pair.

        Args:
            rows: int64 `[pairs]`.
            other: The other table, which may be this one.
            others: Its rows, int64 `[pairs]`.
        """
        begins, others_begin = self._offsets[rows], other._offsets[others]
        lengths = self._offsets[rows + 1] - begins
        equal: NDArray[np.bool_] = other._offsets[others + 1] - others_begin == lengths
        pairs = np.flatnonzero(equal)
        lengths = lengths[pairs]
        pair_of = np.repeat(np.arange(len(pairs)), lengths)
        within = np.arange(len(pair_of)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        differs = (
            self._block[begins[pairs][pair_of] + within]
            != other._block[others_begin[pairs][pair_of] + within]
        )
        equal[pairs[pair_of[differs]]] = False
        return equal

    def json_values(self, place: str) -> list[Any]:
        """Parse every string as the JSON value that it has to be.

        Raises:
            ArtifactError: One is no JSON, such as NaN and Infinity; `place` names the table.
        """
        text = b"[" + b",".join(map(self.raw, range(len(self)))) + b"]"
        try:
            values: list[Any] = json.loads(text, parse_constant=_refuse)
        except (ValueError, RecursionError) as error:
            raise ArtifactError(f"{place}: its values are not JSON: {shorten(str(error))}") from error
        if len(values) != len(self):
            raise ArtifactError(f"{place}: {len(self)} rows hold {len(values)} JSON values")
        return values

    @staticmethod
    def files(stem: str) -> tuple[str, str]:
        """Name the two files of a table."""
        return f"{stem}.bytes.npy", f"{stem}.offsets.npy"

    def save(self, folder: Path, stem: str) -> None:
        """Write the two files."""
        with StringTableWriter(folder, stem) as writer:
            writer.append(self)

    @classmethod
    def load(cls, folder: Path, stem: str) -> "StringTable":
        """Map what `save` wrote.

        Raises:
            ArtifactError: A file is missing or malformed.
        """
        bytes_file, offsets_file = cls.files(stem)
        block = map_array(folder, bytes_file, np.uint8)
        offsets = map_array(folder, offsets_file, np.int64)
        check_offsets(offsets, len(block), f"{stem} in {folder.name}")
        return cls(block, offsets)


class StringTableWriter:
    """Writes a table's two files a part at a time; a context manager, as `ArrayWriter` is.

    Args:
        folder: Where the files go.
        stem: Of their names.
    """

    def __init__(self, folder: Path, stem: str) -> None:
        bytes_file, offsets_file = StringTable.files(stem)
        self._files = ExitStack()
        self._block = self._files.enter_context(ArrayWriter(folder, bytes_file, np.uint8))
        self._offsets = self._files.enter_context(ArrayWriter(folder, offsets_file, np.int64))
        self._offsets.append(np.zeros(1, dtype=np.int64))

    def append(self, table: StringTable) -> None:
        """Write further rows."""
        begin, end = table._offsets[0], table._offsets[-1]
        self._offsets.append(table._offsets[1:] - begin + len(self._block))
        self._block.append(table._block[begin:end])

    def __enter__(self) -> "StringTableWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._files.__exit__(kind, error, trace)


def check_offsets(offsets: NDArray[np.int64], length: int, place: str) -> None:
    """Refuse offsets that do not run from 0 to `length` without going back.

    Raises:
        ArtifactError: They don't.
    """
    if not len(offsets) or offsets[0] != 0 or offsets[-1] != length or (np.diff(offsets) < 0).any():
        raise ArtifactError(f"{place}: its offsets do not fit its values")


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")
