"""Tables that are given from code."""

import polars as pl
import pytest

from torchtowers.data.errors import DataError
from torchtowers.data.tables import Tables

ROWS = {"user_id": ["a"], "item_id": ["x"], "rating": [1.5]}


def test_frames_of_polars_are_taken_as_they_are() -> None:
    table = pl.DataFrame(ROWS)
    assert Tables(table).interactions is table
    assert Tables(table).users.width == 0
    lazy = Tables(table.lazy(), table, table)
    assert isinstance(lazy.interactions, pl.LazyFrame)
    assert lazy.users.equals(table)


def test_frames_of_pandas_are_turned_into_polars() -> None:
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    assert Tables(pandas.DataFrame(ROWS)).interactions.lazy().collect().equals(pl.DataFrame(ROWS))


def test_something_else_is_refused() -> None:
    with pytest.raises(DataError, match="interactions: a table is a polars or pandas DataFrame, got dict"):
        Tables(ROWS)  # type: ignore[arg-type]
