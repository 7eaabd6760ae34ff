import math
from datetime import UTC, datetime

import numpy as np
import pytest

from torchtowers.handlers.encoders import TimestampEncoder
from torchtowers.handlers.errors import FieldError

# A Wednesday.
NOW = int(datetime(2020, 1, 1, 6, tzinfo=UTC).timestamp())


def test_age_hour_and_weekday() -> None:
    encoder = TimestampEncoder(NOW, 2.0)
    angle = 2 * math.pi * 2 / 7
    weekday = [math.sin(angle), math.cos(angle)]
    np.testing.assert_allclose(encoder.encode([NOW])[0], [0, 1, 0, *weekday, 0], atol=1e-7)
    before = encoder.encode_value(NOW - 86_400, "at")
    assert before[0] == pytest.approx(math.log(2) / 2)
    assert before[1:3] == encoder.encode_value(NOW, "at")[1:3]
    assert encoder.encode_value(NOW + 86_400, "at")[0] == pytest.approx(-math.log(2) / 2)
    assert encoder.encode_value(None, "at") == [0, 0, 0, 0, 0, 1]


@pytest.mark.parametrize(
    "text", ["2020-01-01T06:00:00Z", "2020-01-01 06:00", "2020-01-01T08:00:00+02:00", "2020-01-01T06:00:00.9"]
)
def test_a_text_is_the_same_time(text: str) -> None:
    encoder = TimestampEncoder(NOW - 99, 1.0)
    assert encoder.encode_value(text, "at") == encoder.encode_value(NOW, "at")


def test_numbers_are_of_the_unit() -> None:
    seconds, milliseconds = TimestampEncoder(NOW, 1.0), TimestampEncoder(NOW, 1.0, "ms")
    assert milliseconds.encode_value(NOW * 1000 + 999, "at") == seconds.encode_value(NOW, "at")


@pytest.mark.parametrize("value", [-1, NOW * 1000, math.nan, math.inf, 10**400, "yesterday", "", True, [NOW]])
def test_refuses(value: object) -> None:
    with pytest.raises(FieldError, match=r"^at: expected s since 1970 or an ISO 8601 text, from"):
        TimestampEncoder(NOW, 1.0).encode_value(value, "at")
