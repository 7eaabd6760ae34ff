"""Features of known entities, filled in where a request leaves them out.

A client that knows no more than a user's id gets recommendations from the features that the model was
trained with. The values are kept encoded, one row for each id, and a column for each of a feature's tensors.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchtowers.handlers.arrays import map_array, save_array
from torchtowers.handlers.encoder import Encoded, Encoder, Part, TensorSpec
from torchtowers.handlers.errors import ArtifactError
from torchtowers.handlers.strings import check_offsets

__all__ = ["FeatureLookup", "LookupColumn"]

_DTYPES: dict[str, type[np.generic]] = {"int64": np.int64, "float32": np.float32}


class LookupColumn:
    """One tensor's values, by the row of the key.

    Args:
        values: `[keys]`, `[keys, width]`, or for lists `[sum of lengths]`; int64 or float32.
        offsets: int64 `[keys + 1]` for lists; else None.
    """

    def __init__(self, values: NDArray[Any], offsets: NDArray[np.int64] | None) -> None:
        self.values = values
        self.offsets = offsets
        # Of single elements, these are ten times as fast as the arrays.
        self._single = values.data if offsets is None and values.ndim == 1 else None
        self._begins = None if offsets is None else offsets.data

    def __len__(self) -> int:
        return len(self.values) if self.offsets is None else len(self.offsets) - 1

    def get(self, row: int) -> Part | NDArray[Any]:
        """Give the encoded value of a known key by its row; a list as a view of the values."""
        if self._single is not None:
            value: Part = self._single[row]
            return value
        if self._begins is not None:
            return self.values[self._begins[row] : self._begins[row + 1]]
        numbers: Part = self.values[row].tolist()
        return numbers

    def take(self, rows: NDArray[np.int64], missing: Part) -> NDArray[Any]:
        """Give the encoded values of many keys.

        Args:
            rows: The keys' rows, int64 `[batch]`; -1 is a key that is not known.
            missing: What an unknown one has: an empty list, a row of numbers or an index.

        Returns:
            `[batch]`, `[batch, width]`, or of lists `[batch, length]`, padded with 0.
        """
        unknown = rows < 0
        some = bool(unknown.any())
        known = np.where(unknown, 0, rows) if some else rows
        if self.offsets is None:
            taken: NDArray[Any] = self.values[known]
            if some:
                taken[unknown] = missing
            return taken
        begins, lengths = self.offsets[known], self.offsets[known + 1] - self.offsets[known]
        if some:
            lengths[unknown] = 0
        places = np.arange(max(1, int(lengths.max(initial=0))))
        is_there = places < lengths[:, np.newaxis]
        padded = np.zeros(is_there.shape, self.values.dtype)
        padded[is_there] = self.values[(begins[:, np.newaxis] + places)[is_there]]
        return padded

    def has_lengths_of(self, other: "LookupColumn") -> bool:
        """Say whether the rows' lists are as long as another column's."""
        if self.offsets is None or other.offsets is None:
            return self.offsets is other.offsets
        return np.array_equal(self.offsets, other.offsets)

    @staticmethod
    def files(stem: str, *, is_list: bool) -> tuple[str, ...]:
        """Name the files of a column: the values, and for lists their offsets."""
        return (f"{stem}.values.npy", f"{stem}.offsets.npy")[: 1 + is_list]

    def save(self, folder: Path, stem: str) -> None:
        """Write the column's files."""
        arrays = (self.values,) if self.offsets is None else (self.values, self.offsets)
        for name, array in zip(self.files(stem, is_list=len(arrays) == 2), arrays, strict=True):
            save_array(folder, name, array)

    @classmethod
    def load(cls, folder: Path, stem: str, spec: TensorSpec, *, keys: int, size: int) -> "LookupColumn":
        """Map what `save` wrote.

        Args:
            folder: The artifact's folder.
            stem: What the files' names begin with.
            spec: The tensor.
            keys: How many rows there have to be.
            size: The encoder's; every index has to be below it.

        Raises:
            ArtifactError: A file is missing or malformed, or does not fit `spec`, `keys` or `size`.
        """
        names = cls.files(stem, is_list=spec.is_ragged)
        dimensions = 1 if spec.is_ragged else len(spec.shape)
        values = map_array(folder, names[0], _DTYPES[spec.dtype], dimensions)
        offsets = map_array(folder, names[1], np.int64) if spec.is_ragged else None
        if offsets is not None:
            check_offsets(offsets, len(values), f"{stem} in {folder.name}")
        elif values.shape[1:] != spec.shape[1:]:
            raise ArtifactError(f"{stem} in {folder.name}: expected rows of {spec.shape[1:]} numbers")
        _check_values(values, size, f"{stem} in {folder.name}")
        column = cls(values, offsets)
        if len(column) != keys:
            raise ArtifactError(f"{stem} in {folder.name}: expected {keys} rows, got {len(column)}")
        return column


def _check_values(values: NDArray[Any], size: int, place: str) -> None:
    if values.dtype != np.int64:
        if not np.isfinite(values).all():
            raise ArtifactError(f"{place}: expected finite numbers")
    elif len(values) and not (values.min() >= 0 and values.max() < size):
        raise ArtifactError(
            f"{place}: expected indices from 0 to {size - 1}, got {values.min()} to {values.max()}"
        )


class FeatureLookup:
    """One feature's encoded values, by the row of the key.

    Args:
        columns: One for each of the encoder's tensors, of equally long rows where there are several lists.
    """

    def __init__(self, columns: tuple[LookupColumn, ...]) -> None:
        self.columns = columns

    def get(self, row: int) -> Any:
        """Give the encoded value of a known key by its row, as `encode_value` would, but arrays for lists."""
        if len(self.columns) == 1:
            return self.columns[0].get(row)
        return tuple(column.get(row) for column in self.columns)

    def take(self, rows: NDArray[np.int64], missing: Encoded) -> tuple[NDArray[Any], ...]:
        """Give the encoded values of many keys, as the encoder's `stack` would.

        Args:
            rows: The keys' rows, int64 `[batch]`; -1 is a key that is not known.
            missing: What an unknown one has, as `encode_value` gives it.

        Returns:
            An array for each of the encoder's tensors.
        """
        parts = missing if isinstance(missing, tuple) else (missing,)
        return tuple(column.take(rows, part) for column, part in zip(self.columns, parts, strict=True))

    @classmethod
    def load(cls, folder: Path, stem: str, encoder: Encoder, keys: int) -> "FeatureLookup":
        """Map a feature's columns; see `LookupColumn.load`.

        Raises:
            ArtifactError: A file is missing or malformed or does not fit, or a row's lists differ in length.
        """
        columns = tuple(
            LookupColumn.load(folder, stem + spec.suffix, spec, keys=keys, size=encoder.size)
            for spec in encoder.tensors
        )
        for other in columns[1:]:
            if not other.has_lengths_of(columns[0]):
                raise ArtifactError(f"{stem} in {folder.name}: its lists differ in length")
        return cls(columns)
