"""Many strings in two memory-mapped files, so that the workers of a host share one copy."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchtowers.handlers.arrays import map_array, save_array
from torchtowers.handlers.errors import ArtifactError, shorten

__all__ = ["StringTable", "check_offsets"]


class StringTable:
    """Strings by row, as one block of UTF-8 and the offsets where each begins.

    Args:
        block: uint8 `[bytes]`.
        offsets: int64 `[rows + 1]`.
    """

    def __init__(self, block: NDArray[np.uint8], offsets: NDArray[np.int64]) -> None:
        self._block = block
        self._offsets = offsets

    @classmethod
    def of(cls, strings: Iterable[str]) -> "StringTable":
        """Pack strings."""
        encoded = [string.encode() for string in strings]
        offsets = np.zeros(len(encoded) + 1, dtype=np.int64)
        np.cumsum([len(string) for string in encoded], out=offsets[1:])
        return cls(np.frombuffer(b"".join(encoded), dtype=np.uint8), offsets)

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def raw(self, row: int) -> bytes:
        """Give one string as UTF-8."""
        return self._block[self._offsets[row] : self._offsets[row + 1]].tobytes()

    def __getitem__(self, row: int) -> str:
        return self.raw(row).decode()

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
        bytes_file, offsets_file = self.files(stem)
        save_array(folder, bytes_file, self._block)
        save_array(folder, offsets_file, self._offsets)

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


def check_offsets(offsets: NDArray[np.int64], length: int, place: str) -> None:
    """Refuse offsets that do not run from 0 to `length` without going back.

    Raises:
        ArtifactError: They don't.
    """
    if not len(offsets) or offsets[0] != 0 or offsets[-1] != length or (np.diff(offsets) < 0).any():
        raise ArtifactError(f"{place}: its offsets do not fit its values")


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")
