"""A data set as it is read: three tables."""

from dataclasses import dataclass, field
from typing import Any

import polars as pl

from torchtowers.data.errors import DataError

__all__ = ["PART", "Tables"]

# The interactions' column that says which part a row came from, where each part has its own files.
PART = "__part"


@dataclass(frozen=True)
class Tables:
    """Interactions, and the users and items that they name, as polars frames.

    A pandas DataFrame is taken as well, without its index.

    Args:
        interactions: A user's id and an item's id, and where there are such, a label, a time and what else is
            known of an interaction. A LazyFrame is read a part at a time, in its order of rows.
        users: A row for each user: its id, and further columns. Without columns, the users are those of the
            interactions.
        items: A row for each item, likewise.

    Raises:
        DataError: Something else is given, or pandas' columns can't be turned into polars'.
    """

    interactions: pl.DataFrame | pl.LazyFrame
    users: pl.DataFrame = field(default_factory=pl.DataFrame)
    items: pl.DataFrame = field(default_factory=pl.DataFrame)

    def __post_init__(self) -> None:
        for name in ("interactions", "users", "items"):
            table = getattr(self, name)
            if not isinstance(table, pl.DataFrame | pl.LazyFrame):
                object.__setattr__(self, name, _from_pandas(name, table))


def _from_pandas(name: str, table: Any) -> pl.DataFrame:
    if type(table).__module__.partition(".")[0] != "pandas":
        raise DataError(f"{name}: a table is a polars or pandas DataFrame, got {type(table).__name__}")
    try:
        return pl.from_pandas(table)
    except ImportError as error:
        raise DataError(f"{name}: a pandas DataFrame needs pyarrow: pip install pyarrow") from error
    except (pl.exceptions.PolarsError, TypeError, ValueError) as error:
        raise DataError(f"{name}: polars can't take this DataFrame ({error})") from error
