"""Candidates' embeddings as an index keeps them: float32, or smaller."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchtowers.handlers.errors import ArtifactError
from torchtowers.handlers.products import Rows

__all__ = ["DTYPES", "Vectors", "quantized"]

DTYPES = ("float32", "float16", "int8")

# Values that are made float32 at once, 2 MB: what a core's cache holds.
_AT_ONCE = 1 << 19
_LARGEST = 127
# A scale below it has not all of float32's digits: such a row is zero.
_SMALLEST = np.finfo(np.float32).smallest_normal

_SIGN_AND_NUMBER = np.int32(-(1 << 31) | ((1 << 28) - 1))
_EXPONENT = np.float32(2.0**112)


class Vectors:
    """Embeddings that are compared as float32, whatever they are kept as.

    Args:
        values: float32, float16 or int8 `[count, dim]`.
        scales: Of int8 values, what multiplies each row; float32 `[count]`.
    """

    def __init__(self, values: NDArray[Any], scales: NDArray[np.float32] | None = None) -> None:
        self.values = values
        self.scales = scales
        self._rows = Rows(values)

    def __len__(self) -> int:
        return len(self.values)

    @property
    def dimension(self) -> int:
        """The embeddings' dimension."""
        return int(self.values.shape[1])

    def scores(self, queries: NDArray[np.float32]) -> NDArray[np.float32]:
        """Give the dot products of queries `[batch, dim]` with all rows, float32 `[batch, count]`."""
        if self.values.dtype == np.float32:
            return self._rows.products(queries)
        scores = np.empty((len(queries), len(self)), np.float32)
        for first, rows in self._blocks():
            scores[:, first : first + len(rows)] = queries @ rows.T
        if self.scales is not None:
            # Of the products and not of the rows: fewer numbers.
            scores *= self.scales
        return scores

    def estimates(self, queries: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Score int8 rows as fast as can be, and tell how far that may be from the truth.

        Where the processor multiplies int8, queries are made int8, too.

        Args:
            queries: float32 `[batch, dim]`.

        Returns:
            Scores, float32 `[batch, count]`; and by query what `errors` takes, float32 `[batch]`.
        """
        # Each value is off by half the scale at most; a little more, since the sums are rounded, too.
        lengths = np.float32(0.525) * np.abs(queries).sum(axis=1)
        steps = np.abs(queries).max(axis=1, initial=0.0) / np.float32(_LARGEST)
        # Neither a query of zeros nor one that is not finite has digits.
        has_digits = bool(((steps >= _SMALLEST) & (steps < np.inf)).all())
        if self.scales is None or not has_digits or not self._rows.multiplies_int8:
            return self.scores(queries), lengths
        digits = np.rint(queries / steps[:, None]).clip(-_LARGEST, _LARGEST)
        scores = np.empty((len(queries), len(self)), np.float32)
        for place, query in enumerate(digits.astype(np.int8)):
            scores[place] = self._rows.int8_products(query)
            scores[place] *= self.scales
            scores[place] *= steps[place]
        # Of the query, what is left, times the largest that a row's value can be.
        left = np.abs(queries - digits * steps[:, None]).sum(axis=1)
        return scores, lengths + np.float32(1.05 * _LARGEST) * left

    def errors(self, length: np.float32) -> NDArray[np.float32]:
        """Give how far an estimate may be from the score of the embeddings that int8 rows were made of.

        Args:
            length: The query's, as `estimates` gives it.

        Returns:
            float32 `[count]`.

        Raises:
            ValueError: They are not int8.
        """
        if self.scales is None:
            raise ValueError(f"errors are of int8 rows, these are {self.values.dtype}")
        errors: NDArray[np.float32] = (self.scales + _SMALLEST * _LARGEST) * length
        return errors

    def take(self, rows: NDArray[np.int64] | slice) -> NDArray[np.float32]:
        """Give rows as float32 `[rows, dim]`."""
        taken: NDArray[np.float32] = self.values[rows].astype(np.float32)
        if self.scales is not None:
            taken = taken * self.scales[rows, np.newaxis]
        return taken

    def _blocks(self) -> Iterator[tuple[int, NDArray[np.float32]]]:
        step = max(1, _AT_ONCE // max(1, self.dimension))
        buffer = np.empty((min(step, len(self)), self.dimension), np.float32)
        for first in range(0, len(self), step):
            block = self.values[first : first + step]
            rows = buffer[: len(block)]
            if block.dtype == np.float16:
                _widen(block, rows)
            else:
                rows[...] = block
            yield first, rows


def _widen(half: NDArray[Any], out: NDArray[np.float32]) -> None:
    """Make float16 float32 by its bits: some six times as fast as numpy's own conversion."""
    bits = out.view(np.int32)
    bits[...] = half.view(np.int16)
    # The sign was carried to the upper half; exponent and fraction move to their places in float32.
    bits <<= 13
    bits &= _SIGN_AND_NUMBER
    # The exponents' offsets are 127 and 15; by a product, so that subnormal numbers come out, too.
    out *= _EXPONENT


def quantized(embeddings: NDArray[np.float32], dtype: str) -> Vectors:
    """Make embeddings smaller; each row by itself, so that a large index can be made in parts.

    An int8 row has the scale at which its largest value is 127: a value is off by half the scale at most.

    Args:
        embeddings: float32 `[count, dim]`.
        dtype: Of `DTYPES`.

    Raises:
        ArtifactError: A value is not finite, or is beyond float16.
    """
    if not np.isfinite(embeddings).all():
        raise ArtifactError("the index's embeddings hold values that are not finite; train again")
    if dtype == "float32":
        return Vectors(np.ascontiguousarray(embeddings))
    if dtype == "float16":
        largest = float(np.abs(embeddings).max(initial=0.0))
        if largest > float(np.finfo(np.float16).max):
            raise ArtifactError(f"an embedding has a value of {largest:.3g}, beyond float16: choose int8")
        return Vectors(embeddings.astype(np.float16))
    scales = np.abs(embeddings).max(axis=1, initial=0.0) / np.float32(_LARGEST)
    scales[scales < _SMALLEST] = 0
    steps = embeddings / np.where(scales > 0, scales, np.inf)[:, None]
    return Vectors(np.rint(steps).clip(-_LARGEST, _LARGEST).astype(np.int8), scales.astype(np.float32))
