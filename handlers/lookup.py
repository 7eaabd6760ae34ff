"""Features of known entities, filled in where a request leaves them out.

A client that knows no more than a user's id gets recommendations from the features that the model was
trained with. The values are kept encoded, one row for each token of the key's vocabulary.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from torchtowers.handlers.arrays import map_array, save_array
from torchtowers.handlers.errors import ArtifactError
from torchtowers.handlers.strings import check_offsets
from torchtowers.handlers.vocabulary import FIRST_TOKEN

__all__ = ["LookupColumn"]


class LookupColumn:
    """One feature's encoded values, by the index of the key.

    Args:
        values: int64 `[keys]` for a scalar feature, `[sum of lengths]` for lists.
        offsets: int64 `[keys + 1]` for lists; None for a scalar feature.
    """

    def __init__(self, values: NDArray[np.int64], offsets: NDArray[np.int64] | None) -> None:
        self._values = values
        self._offsets = offsets

    def __len__(self) -> int:
        return len(self._values) if self._offsets is None else len(self._offsets) - 1

    def get(self, key: int) -> int | list[int]:
        """Give the encoded value of a known key (an index of at least `FIRST_TOKEN`)."""
        row = key - FIRST_TOKEN
        if self._offsets is None:
            return int(self._values[row])
        indices: list[int] = self._values[self._offsets[row] : self._offsets[row + 1]].tolist()
        return indices

    @staticmethod
    def files(stem: str, *, is_list: bool) -> tuple[str, ...]:
        """Name the files of a column: the values, and for lists their offsets."""
        return (f"{stem}.values.npy", f"{stem}.offsets.npy")[: 1 + is_list]

    def save(self, folder: Path, stem: str) -> None:
        """Write the column's files."""
        arrays = (self._values,) if self._offsets is None else (self._values, self._offsets)
        for name, array in zip(self.files(stem, is_list=len(arrays) == 2), arrays, strict=True):
            save_array(folder, name, array)

    @classmethod
    def load(cls, folder: Path, stem: str, *, is_list: bool, keys: int, size: int) -> "LookupColumn":
        """Map what `save` wrote.

        Args:
            folder: The artifact's folder.
            stem: What the files' names begin with.
            is_list: Whether the feature is a list.
            keys: How many rows there have to be.
            size: The encoder's; every value has to be an index below it.

        Raises:
            ArtifactError: A file is missing or malformed, or does not fit `keys` or `size`.
        """
        values, *rest = (map_array(folder, name, np.int64) for name in cls.files(stem, is_list=is_list))
        offsets = rest[0] if rest else None
        if offsets is not None:
            check_offsets(offsets, len(values), f"{stem} in {folder.name}")
        if len(values) and not (values.min() >= 0 and values.max() < size):
            raise ArtifactError(
                f"{stem} in {folder.name}: expected indices from 0 to {size - 1}, "
                f"got {values.min()} to {values.max()}"
            )
        column = cls(values, offsets)
        if len(column) != keys:
            raise ArtifactError(f"{stem} in {folder.name}: expected {keys} rows, got {len(column)}")
        return column
