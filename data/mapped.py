"""Arrays of the size of the data, in files without a name: memory holds what of them it has room for."""

import tempfile
from collections.abc import Iterator
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["ROWS_AT_ONCE", "Growing", "mapped", "spans"]

# What is done for every row of the data is done for so many at once.
ROWS_AT_ONCE = 1 << 20

S = TypeVar("S", bound=np.generic)


def spans(rows: int) -> Iterator[tuple[int, int]]:
    """Give where parts of at most `ROWS_AT_ONCE` rows begin and end; of no rows, one empty part."""
    for first in range(0, max(rows, 1), ROWS_AT_ONCE):
        yield first, min(first + ROWS_AT_ONCE, rows)


class Growing:
    """A mapped array that grows at its end.

    The file lies where Python's `tempfile` puts such (`TMPDIR`), and is gone when the array is, also where
    the process is killed.

    Args:
        dtype: Of the array.
        width: Of its rows, for an array `[length, width]`.

    Example:
        >>> numbers = Growing(np.int64)
        >>> numbers.append(np.array([1, 2]))
        >>> numbers.append(np.array([3]))
        >>> numbers.finish().tolist()
        [1, 2, 3]
    """

    def __init__(self, dtype: Any, width: int | None = None) -> None:
        self._dtype = np.dtype(dtype)
        self._width = () if width is None else (width,)
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed with this object
        self._length = 0

    def append(self, values: NDArray[Any]) -> None:
        """Write values to the end."""
        self._file.write(np.ascontiguousarray(values, dtype=self._dtype).data)
        self._length += len(values)

    def finish(self) -> NDArray[Any]:
        """Give the array."""
        self._file.flush()
        return _map(self._file, self._dtype, (self._length, *self._width))

    def __del__(self) -> None:
        self._file.close()


def mapped(length: int, dtype: type[S]) -> NDArray[S]:
    """Give a mapped array of zeros, `[length]`."""
    with tempfile.TemporaryFile() as file:
        file.truncate(length * np.dtype(dtype).itemsize)
        return _map(file, np.dtype(dtype), (length,))


def _map(file: Any, dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    if not shape[0]:
        return np.empty(shape, dtype=dtype)
    # As a plain array: it keeps the map, and the map keeps the file, also when it is closed.
    return np.memmap(file, dtype=dtype, mode="r+", shape=shape).view(np.ndarray)
