"""What every encoder of a feature can do, and the bases of those that give one tensor."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "DenseEncoder",
    "Encoded",
    "Encoder",
    "IndexEncoder",
    "ListEncoder",
    "Part",
    "TensorSpec",
    "pad",
    "pad_weights",
]

Indices = NDArray[np.int64]
Floats = NDArray[np.float32]
# Of one tensor: an index, a list of indices or of weights, or a row of numbers.
Part: TypeAlias = int | list[int] | list[float]
# A part where the encoder gives one tensor, or else one for each of them.
Encoded: TypeAlias = Part | tuple[Part, ...]


@dataclass(frozen=True)
class TensorSpec:
    """One of the tensors that a feature becomes.

    Args:
        suffix: What its name has behind the feature's; nothing for the first one.
        dtype: `int64` for indices, `float32` for numbers.
        shape: `("batch",)`, `("batch", "length")`, or `("batch", width)` with a number.
    """

    suffix: str
    dtype: str
    shape: tuple[str | int, ...]

    @property
    def is_ragged(self) -> bool:
        """Whether rows are lists of different lengths."""
        return self.shape[1:] == ("length",)


@runtime_checkable
class Encoder(Protocol):
    """What every encoder can do; `kind` names it in a signature, `expected` tells a caller what it takes.

    `dtype` is that of a request's value, `string`, `number` or `boolean`; `is_list` says that it is a list.
    """

    kind: ClassVar[str]
    dtype: ClassVar[str]
    is_list: ClassVar[bool]
    expected: ClassVar[str]
    out_of_vocabulary: ClassVar[str]

    @property
    def size(self) -> int:
        """Number of distinct indices, so of rows of an embedding table; 0 where there are only numbers."""

    @property
    def tensors(self) -> tuple[TensorSpec, ...]:
        """What the feature becomes."""

    def encode_value(self, value: object, field: str) -> Encoded:
        """Encode one value; None is missing.

        Raises:
            FieldError: The value is of the wrong kind; `field` is named as the place.
        """

    def stack(self, encoded: Sequence[Any]) -> tuple[NDArray[Any], ...]:
        """Make a batch of what `encode_value` gave: an array for each of `tensors`."""

    def to_json(self) -> dict[str, Any]:
        """Describe the encoder for a signature; vocabularies are added by file name by the caller."""


def pad(lists: Sequence[Sequence[int]]) -> Indices:
    """Stack lists of indices to int64 `[batch, length]`, padded with 0; the length is at least 1."""
    return _padded(lists, np.int64)


def pad_weights(lists: Sequence[Sequence[float]]) -> Floats:
    """Stack lists of weights to float32 `[batch, length]`, as `pad` does."""
    return _padded(lists, np.float32)


def _padded(lists: Sequence[Sequence[float]], dtype: type[np.generic]) -> NDArray[Any]:
    length = max((len(row) for row in lists), default=0)
    padded = np.zeros((len(lists), max(length, 1)), dtype=dtype)
    for row, values in enumerate(lists):
        padded[row, : len(values)] = values
    return padded


class IndexEncoder:
    """Base of the encoders that give one index a value."""

    is_list: ClassVar[bool] = False

    @property
    def tensors(self) -> tuple[TensorSpec, ...]:
        """Indices, int64 `[batch]`."""
        return (TensorSpec("", "int64", ("batch",)),)

    def encode_value(self, value: object, field: str) -> int:
        """Encode one value; None is missing."""
        raise NotImplementedError

    def stack(self, encoded: Sequence[int]) -> tuple[Indices]:
        """Make a batch, int64 `[batch]`."""
        return (np.asarray(encoded, dtype=np.int64),)

    def encode(self, values: Sequence[object]) -> Indices:
        """Encode a column to int64 `[batch]`."""
        return np.fromiter((self.encode_value(value, "value") for value in values), np.int64, len(values))


class ListEncoder:
    """Base of the encoders that give a list of indices a value."""

    is_list: ClassVar[bool] = True

    @property
    def tensors(self) -> tuple[TensorSpec, ...]:
        """Indices, int64 `[batch, length]`."""
        return (TensorSpec("", "int64", ("batch", "length")),)

    def encode_value(self, value: object, field: str) -> list[int]:
        """Encode one value; None is an empty list."""
        raise NotImplementedError

    def stack(self, encoded: Sequence[list[int]]) -> tuple[Indices]:
        """Make a batch, int64 `[batch, length]`, padded with 0."""
        return (pad(encoded),)

    def encode(self, values: Sequence[object]) -> Indices:
        """Encode a column to int64 `[batch, length]`."""
        return pad([self.encode_value(value, "value") for value in values])


class DenseEncoder:
    """Base of the encoders that give a row of numbers a value."""

    is_list: ClassVar[bool] = False

    @property
    def width(self) -> int:
        """How many numbers a value becomes."""
        raise NotImplementedError

    @property
    def size(self) -> int:
        """No indices."""
        return 0

    @property
    def tensors(self) -> tuple[TensorSpec, ...]:
        """Numbers, float32 `[batch, width]`."""
        return (TensorSpec("", "float32", ("batch", self.width)),)

    def encode_value(self, value: object, field: str) -> list[float]:
        """Encode one value; None is missing."""
        raise NotImplementedError

    def stack(self, encoded: Sequence[list[float]]) -> tuple[Floats]:
        """Make a batch, float32 `[batch, width]`."""
        return (np.asarray(encoded, dtype=np.float32).reshape(len(encoded), self.width),)

    def encode(self, values: Sequence[object]) -> Floats:
        """Encode a column to float32 `[batch, width]`."""
        return self.stack([self.encode_value(value, "value") for value in values])[0]
