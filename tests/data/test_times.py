from datetime import UTC, date, datetime

import numpy as np
import polars as pl
import pytest

from torchtowers.data.errors import DataError
from torchtowers.data.times import to_seconds

NOON = int(datetime(2024, 3, 1, 12, 30, tzinfo=UTC).timestamp())
MIDNIGHT = int(datetime(2024, 3, 1, tzinfo=UTC).timestamp())


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2024-03-01", MIDNIGHT),
        ("2024-03-01T12:30:00Z", NOON),
        ("2024-03-01T12:30:00", NOON),
        ("2024-03-01 12:30:00", NOON),
        (" 2024-03-01 12:30:00.999 ", NOON),
        ("2024-03-01T14:30:00.5+02:00", NOON),
        ("2024-03-01T07:00:00-0530", NOON),
        ("2024-03-01T12:30", NOON),
        ("20240301T123000", NOON),
        ("1970-01-01", 0),
    ],
)
def test_texts_are_read_by_iso_8601_and_are_utc_without_a_zone(text: str, seconds: int) -> None:
    assert to_seconds(pl.Series("at", [text])).to_list() == [seconds]


def test_a_column_may_hold_several_forms_and_nulls() -> None:
    column = pl.Series("at", ["2024-03-01", None, "2024-03-01T12:30:00Z", "", "2024-03-01T12:30"])
    read = to_seconds(column)
    assert read.to_list() == [MIDNIGHT, None, NOON, None, NOON]
    assert read.name == "at"
    assert read.dtype == pl.Int64


def test_texts_are_what_python_makes_of_them() -> None:
    generator = np.random.default_rng(1)
    moments = [datetime.fromtimestamp(int(at), UTC) for at in generator.integers(0, 4_000_000_000, 200)]
    column = pl.Series("at", [moment.isoformat() for moment in moments])
    assert to_seconds(column).to_list() == [int(moment.timestamp()) for moment in moments]


@pytest.mark.parametrize(
    ("column", "said"),
    [
        (["2024-03-01", "soon"], "at: got soon, which is no time: expected 2024-03-01 or"),
        (["2024-13-01"], "at: got 2024-13-01, which is no time"),
        (["1700000000", "n/a"], "at: got n/a, which is no time: .* or a column of numbers"),
        (["1700000000"], "at: got 1700000000, which is no time"),
        (["1969-12-31T23:59:59Z"], "at: got 1969-12-31T23:59:59Z, which is no time"),
        (["2200-01-01"], "at: got 2200-01-01, which is no time: .* from 1970 to 2100"),
        ([True], "at: times are numbers since 1970, .* and the column holds Boolean"),
        ([1_700_000_000_000], "at: got 1700000000000, .* as ms it is: set data.timestamp_unit to ms"),
        ([float("inf")], "at: got inf, which is no time"),
    ],
)
def test_what_is_no_time_is_named(column: list[object], said: str) -> None:
    with pytest.raises(DataError, match=said):
        to_seconds(pl.Series("at", column))


def test_dates_numbers_and_nothing() -> None:
    assert to_seconds(pl.Series("at", [date(2024, 3, 1), None])).to_list() == [MIDNIGHT, None]
    assert to_seconds(pl.Series("at", [NOON * 1000.0, float("nan")]), "ms").to_list() == [NOON, None]
    assert to_seconds(pl.Series("at", [None, None])).to_list() == [None, None]
    assert to_seconds(pl.Series("at", [], dtype=pl.String)).to_list() == []
