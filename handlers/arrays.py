"""Arrays of an artifact, written a block at a time, and mapped and checked before they are trusted."""

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchtowers.handlers.errors import ArtifactError, shorten

__all__ = ["ArrayWriter", "map_array", "save_array"]


class ArrayWriter:
    """Writes `folder/name` as .npy a block at a time, the same bytes as `np.save`; its folders are made.

    It is a context manager: the array is complete when that ends well.

    Args:
        folder: Where the file goes.
        name: The file.
        dtype: Of the array.
        row: The shape behind the first dimension, `()` for an array of one dimension.
    """

    def __init__(self, folder: Path, name: str, dtype: Any, row: Sequence[int] = ()) -> None:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        self._dtype = np.dtype(dtype)
        self._row = tuple(row)
        self._length = 0
        self._file = path.open("wb")
        self._write_header()

    def __len__(self) -> int:
        return self._length

    def append(self, block: NDArray[Any]) -> None:
        """Write further rows, `[rows, *row]`.

        Raises:
            ValueError: They are of another shape.
        """
        if block.shape[1:] != self._row:
            raise ValueError(f"expected rows of the shape {self._row}, got {block.shape[1:]}")
        self._file.write(np.ascontiguousarray(block, dtype=self._dtype).data)
        self._length += len(block)

    def close(self) -> None:
        """Write how many rows there are."""
        self._file.seek(0)
        self._write_header()
        self._file.close()

    def __enter__(self) -> "ArrayWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self._file.close()

    def _write_header(self) -> None:
        # It has room for a first dimension of any size, so that it can be written again in its place.
        np.lib.format.write_array_header_1_0(
            self._file,
            {
                "descr": np.lib.format.dtype_to_descr(self._dtype),
                "fortran_order": False,
                "shape": (self._length, *self._row),
            },
        )


def save_array(folder: Path, name: str, array: NDArray[Any]) -> None:
    """Write `folder/name` as .npy, with its folders made."""
    with ArrayWriter(folder, name, array.dtype, array.shape[1:]) as writer:
        writer.append(array)


def map_array(folder: Path, name: str, dtype: type[np.generic], dimensions: int = 1) -> NDArray[Any]:
    """Map `folder/name` read-only, so that the workers of a host share its pages.

    Raises:
        ArtifactError: The file is missing, or not an array of that type and number of dimensions.
    """
    path = folder / name
    try:
        # Not np.load, which would also take a .npz or a pickle for an array.
        mapped = np.lib.format.open_memmap(path, mode="r")
    except (OSError, ValueError, EOFError, OverflowError) as error:
        raise ArtifactError(f"{name} in {folder.name} can't be read: {shorten(str(error))}") from error
    # A view without np.memmap's per-slice bookkeeping; the pages stay the file's.
    array: NDArray[Any] = mapped.view(np.ndarray)
    if array.dtype != dtype or array.ndim != dimensions:
        raise ArtifactError(
            f"{name} in {folder.name}: expected {dimensions} dimensions of {np.dtype(dtype)}, "
            f"got {array.ndim} of {array.dtype}"
        )
    return array
