"""The interactions of tables as a frame, however they are held."""

import polars as pl

from torchtowers.data.tables import Tables


def interactions_of(tables: Tables) -> pl.DataFrame:
    """Give the interactions, read wholly."""
    return tables.interactions.lazy().collect()
