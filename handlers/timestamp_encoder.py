"""A time as its age, the hour of the day and the day of the week."""

import math
from datetime import UTC, datetime
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from torchtowers.handlers.checks import finite_float
from torchtowers.handlers.encoder import DenseEncoder, Floats
from torchtowers.handlers.errors import FieldError, shorten

__all__ = ["TimestampEncoder", "seconds_of"]

_DAY = 86_400
_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
_LATEST = int(datetime(2100, 1, 1, tzinfo=UTC).timestamp())
# 1970-01-01 was a Thursday, and weeks begin on Monday.
_FIRST_WEEKDAY = 3


def _circle(points: int) -> Floats:
    angles = 2 * np.pi * np.arange(points) / points
    return np.stack([np.sin(angles), np.cos(angles)], axis=1).astype(np.float32)


class TimestampEncoder(DenseEncoder):
    """A time in UTC as six numbers: its age, hour and weekday on circles, and whether it is missing.

    The age is `sign(d) * log(1 + |d|)` of the days `d` before the reference time, divided by `scale`; an hour
    is the sine and the cosine of the day's part that is past, a weekday those of the week's whole days.

    Args:
        reference: Seconds since 1970: the latest time that the encoder was fitted to.
        scale: The largest logarithm that it was fitted to; above 0.
        unit: Of numbers, since 1970: `s`, `ms`, `us` or `ns`.
    """

    kind: ClassVar[str] = "timestamp"
    dtype: ClassVar[str] = "number"
    expected: ClassVar[str] = "a number since 1970 or an ISO 8601 text, from 1970 to 2100"
    out_of_vocabulary: ClassVar[str] = "refused"
    # Looked up, since a sine of each of many millions of values takes longer than all else.
    hours: ClassVar[Floats] = _circle(_DAY)
    weekdays: ClassVar[Floats] = _circle(7)
    # The last second that is a time, in seconds since 1970.
    latest: ClassVar[int] = _LATEST

    def __init__(self, reference: float, scale: float, unit: str = "s") -> None:
        if finite_float(reference) is None or not finite_float(scale) or scale < 0:
            raise ValueError(
                "reference and scale have to be finite and the latter above 0, "
                f"got {shorten(reference)} and {shorten(scale)}"
            )
        if unit not in _PER_SECOND:
            raise ValueError(f"unit has to be one of {', '.join(_PER_SECOND)}, got {shorten(unit)}")
        self.unit = unit
        self.reference = float(reference)
        self.scale = float(scale)

    @property
    def per_second(self) -> int:
        """How many of the unit make a second."""
        return _PER_SECOND[self.unit]

    @property
    def width(self) -> int:
        """Age, two of the hour, two of the weekday, and whether it is missing."""
        return 6

    def encode_value(self, value: object, field: str) -> list[float]:
        """Encode a number of the unit, or text such as `2024-05-01T12:30:00Z`; None is missing."""
        seconds = float("nan") if value is None else seconds_of(value, self.unit)
        if seconds is None:
            raise FieldError(field, value, f"{self.unit} since 1970 or an ISO 8601 text, from 1970 to 2100")
        row: list[float] = self.encode_numbers(np.array([seconds]))[0].tolist()
        return row

    def encode_numbers(self, values: NDArray[np.float64]) -> Floats:
        """Encode float64 `[batch]` of whole seconds, NaN where one is missing, to float32 `[batch, 6]`."""
        missing = np.isnan(values)
        seconds = np.where(missing, 0.0, values)
        days = (self.reference - seconds) / _DAY
        day, second = np.divmod(seconds.astype(np.int64), _DAY)
        encoded = np.empty((len(values), self.width), dtype=np.float32)
        encoded[:, 0] = np.sign(days) * np.log1p(np.abs(days)) / self.scale
        encoded[:, 1:3] = self.hours[second]
        encoded[:, 3:5] = self.weekdays[(day + _FIRST_WEEKDAY) % 7]
        encoded[missing] = 0
        encoded[:, 5] = missing
        return encoded

    def to_json(self) -> dict[str, Any]:
        """Describe the encoder for a signature."""
        return {"kind": self.kind, "reference": self.reference, "scale": self.scale, "unit": self.unit}


def seconds_of(value: object, unit: str) -> float | None:
    """Give the whole seconds since 1970 of a number or a text; None where it is no time from 1970 to 2100."""
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            return None
        # One without a zone is UTC, as in the columns that the model learns from.
        seconds: float | None = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    else:
        number = finite_float(value)
        seconds = None if number is None else number / _PER_SECOND[unit]
    return float(math.floor(seconds)) if seconds is not None and 0 <= seconds <= _LATEST else None
