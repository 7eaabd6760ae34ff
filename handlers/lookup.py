"""Features of known entities, filled in where a request leaves them out.

A client that knows no more than a user's id gets recommendations from the features that the model was
trained with. The values are kept encoded, one row for each token of the key's vocabulary.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from torchtowers.handlers.arrays import map_array, save_array
from torchtowers.handlers.encoders import FIRST_TOKEN
from torchtowers.handlers.errors import ArtifactError
from torchtowers.handlers.strings import check_offsets

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
        return self._values[self._offsets[row] : self._offsets[row + 1]].tolist()

    def save(self, folder: Path, stem: str) -> None:
        """Write `stem.values.npy`, and `stem.offsets.npy` for lists."""
        save_array(folder, f"{stem}.values.npy", self._values)
        if self._offsets is not None:
            save_array(folder, f"{stem}.offsets.npy", self._offsets)

    @classmethod
    def load(cls, folder: Path, stem: str, *, is_list: bool, keys: int) -> "LookupColumn":
        """Map what `save` wrote.

        Raises:
            ArtifactError: A file is missing or malformed, or is not of `keys` rows.
        """
        values = map_array(folder, f"{stem}.values.npy", np.int64)
        offsets = map_array(folder, f"{stem}.offsets.npy", np.int64) if is_list else None
        if offsets is not None:
            check_offsets(offsets, len(values), f"{stem} in {folder.name}")
        column = cls(values, offsets)
        if len(column) != keys:
            raise ArtifactError(f"{stem} in {folder.name}: expected {keys} rows, got {len(column)}")
        return column
