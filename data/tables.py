"""A data set as it is read: three tables."""

from dataclasses import dataclass

import polars as pl

__all__ = ["Tables"]


@dataclass(frozen=True)
class Tables:
    """Interactions, and the users and items that they name.

    Args:
        interactions: A user's id and an item's id as strings, and where there are such, `rating` (Float64)
            and `timestamp` (Int64, seconds since 1970); in the file's order of rows.
        users: A row for each user; its id as a string, and further columns.
        items: A row for each item; its id as a string, and further columns.
    """

    interactions: pl.DataFrame
    users: pl.DataFrame
    items: pl.DataFrame
