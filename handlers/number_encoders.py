"""Numbers: as intervals, standardised, yes or no, and vectors of them."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from torchtowers.handlers.checks import check_positive, finite_float
from torchtowers.handlers.encoder import DenseEncoder, Floats, IndexEncoder, Indices
from torchtowers.handlers.errors import FieldError, shorten
from torchtowers.handlers.vocabulary import MISSING

__all__ = ["BooleanEncoder", "BucketEncoder", "NumberEncoder", "VectorEncoder"]


class BucketEncoder(IndexEncoder):
    """A number as the interval between ascending boundaries that it falls into.

    Args:
        boundaries: Finite and ascending; bucket i holds `boundaries[i-1] <= value < boundaries[i]`.
    """

    kind: ClassVar[str] = "buckets"
    dtype: ClassVar[str] = "number"
    expected: ClassVar[str] = "a finite number"
    out_of_vocabulary: ClassVar[str] = "outermost_bucket"

    def __init__(self, boundaries: Sequence[float]) -> None:
        finite = all(finite_float(boundary) is not None for boundary in boundaries)
        if not boundaries or not finite or any(low >= high for low, high in pairwise(boundaries)):
            raise ValueError(
                f"boundaries have to be finite, ascend and not be empty, got {shorten(boundaries)}"
            )
        self.boundaries = tuple(boundaries)

    @property
    def size(self) -> int:
        """One more bucket than boundaries, and the row for missing."""
        return len(self.boundaries) + 2

    def encode_value(self, value: object, field: str) -> int:
        """Encode a finite number; None is missing."""
        return int(self.encode_numbers(_number(value, field))[0])

    def encode_numbers(self, values: NDArray[np.float64]) -> Indices:
        """Encode float64 `[batch]`, NaN where one is missing, to int64 `[batch]`."""
        buckets = 1 + np.searchsorted(self.boundaries, values, side="right")
        buckets[np.isnan(values)] = MISSING
        return buckets

    def to_json(self) -> dict[str, Any]:
        """Describe the encoder for a signature."""
        return {"kind": self.kind, "boundaries": list(self.boundaries)}


class NumberEncoder(DenseEncoder):
    """A number, standardised: how many standard deviations it is from the mean, 10 at most; and whether it
    is missing, in which case the mean stands for it.

    Args:
        transform: `standardize`, or `log`, which takes the logarithm first: `sign(x) * log(1 + |x|)`.
        mean: Of the transformed values that the encoder was fitted to.
        deviation: Their standard deviation; above 0.
    """

    kind: ClassVar[str] = "number"
    dtype: ClassVar[str] = "number"
    expected: ClassVar[str] = "a finite number"
    out_of_vocabulary: ClassVar[str] = "ten_deviations"
    # A value that is further from the mean, in standard deviations, is taken for this one: a typing error in
    # one request must not drown all other features.
    furthest: ClassVar[float] = 10.0

    def __init__(self, transform: str, mean: float, deviation: float) -> None:
        if transform not in ("standardize", "log"):
            raise ValueError(f"transform has to be standardize or log, got {shorten(transform)}")
        if finite_float(mean) is None or not finite_float(deviation) or deviation < 0:
            raise ValueError(
                "mean and deviation have to be finite and the latter above 0, "
                f"got {shorten(mean)} and {shorten(deviation)}"
            )
        self.transform = transform
        self.mean = float(mean)
        self.deviation = float(deviation)

    @property
    def width(self) -> int:
        """The number, and whether it is missing."""
        return 2

    def encode_value(self, value: object, field: str) -> list[float]:
        """Encode a finite number; None is missing."""
        row: list[float] = self.encode_numbers(_number(value, field))[0].tolist()
        return row

    def encode_numbers(self, values: NDArray[np.float64]) -> Floats:
        """Encode float64 `[batch]`, NaN where one is missing, to float32 `[batch, 2]`."""
        missing = np.isnan(values)
        known = np.where(missing, 0.0, values)
        if self.transform == "log":
            known = log_of(known)
        # Compared before they are subtracted, since the largest floats' difference is infinite.
        reach = self.furthest * self.deviation
        bounded = np.clip(known, self.mean - reach, self.mean + reach)
        standardised = (bounded - self.mean) / self.deviation
        return np.stack([np.where(missing, 0.0, standardised), missing], axis=1).astype(np.float32)

    def to_json(self) -> dict[str, Any]:
        """Describe the encoder for a signature."""
        return {
            "kind": self.kind,
            "transform": self.transform,
            "mean": self.mean,
            "deviation": self.deviation,
        }


class BooleanEncoder(IndexEncoder):
    """True or false; 1 and 0 are taken for them."""

    kind: ClassVar[str] = "boolean"
    dtype: ClassVar[str] = "boolean"
    expected: ClassVar[str] = "true or false"
    out_of_vocabulary: ClassVar[str] = "refused"

    @property
    def size(self) -> int:
        """Missing, false and true."""
        return 3

    def encode_value(self, value: object, field: str) -> int:
        """Encode true or false; None is missing."""
        if value is None:
            return MISSING
        if isinstance(value, bool | int | np.bool_ | np.integer) and value in (0, 1):
            return 1 + int(value)
        raise FieldError(field, value, self.expected)

    def to_json(self) -> dict[str, Any]:
        """Describe the encoder for a signature."""
        return {"kind": self.kind}


class VectorEncoder(DenseEncoder):
    """A dense vector, such as the embedding of a picture; one that is missing is all zeros.

    An element is kept within 10 times the scale, so that no request takes a model beyond the floats.

    Args:
        vector_width: How many numbers it has.
        scale: What they are divided by: the root of the mean square of what the encoder was fitted to.
    """

    kind: ClassVar[str] = "vector"
    dtype: ClassVar[str] = "number"
    is_list: ClassVar[bool] = True
    expected: ClassVar[str] = "a list of finite numbers of the model's length"
    out_of_vocabulary: ClassVar[str] = "refused"
    furthest: ClassVar[float] = 10.0

    def __init__(self, vector_width: int, scale: float = 1.0) -> None:
        self._width = check_positive("width", vector_width)
        if not finite_float(scale) or scale < 0:
            raise ValueError(f"scale has to be finite and above 0, got {shorten(scale)}")
        self.scale = float(scale)

    @property
    def width(self) -> int:
        """How many numbers it has."""
        return self._width

    def encode_value(self, value: object, field: str) -> list[float]:
        """Encode a list of numbers; None is missing."""
        if value is None:
            return [0.0] * self.width
        if not isinstance(value, list | tuple) or len(value) != self.width:
            raise FieldError(field, value, f"a list of {self.width} finite numbers")
        row = []
        for position, element in enumerate(value):
            number = finite_float(element)
            if number is None:
                raise FieldError(f"{field}[{position}]", element, "a finite number")
            row.append(number)
        encoded: list[float] = self.encode_rows(np.array([row]))[0].tolist()
        return encoded

    def encode_rows(self, rows: NDArray[np.float64]) -> Floats:
        """Encode float64 `[batch, width]` of finite numbers to float32 `[batch, width]`."""
        # A scale below 1 may take the largest floats beyond themselves; what is infinite is clipped too.
        with np.errstate(over="ignore"):
            return np.clip(rows / self.scale, -self.furthest, self.furthest).astype(np.float32)

    def to_json(self) -> dict[str, Any]:
        """Describe the encoder for a signature."""
        return {"kind": self.kind, "width": self.width, "scale": self.scale}


def log_of(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give `sign(x) * log(1 + |x|)`, which is finite for every finite number."""
    logs: NDArray[np.float64] = np.sign(values) * np.log1p(np.abs(values))
    return logs


def _number(value: object, field: str) -> NDArray[np.float64]:
    """Give one number as a batch of one, so that it takes the same way as a column's; None as NaN."""
    number = float("nan") if value is None else finite_float(value)
    if number is None:
        raise FieldError(field, value, "a finite number")
    return np.array([number])
