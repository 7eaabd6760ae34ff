"""Interactions of users and items with text ids, as files: drawn by a seed, written a part at a time."""

from pathlib import Path

import numpy as np
import polars as pl

__all__ = ["USERS", "write_interactions"]

USERS = 500_000
ITEMS = 100_000
_ROWS_AT_ONCE = 1_000_000


def write_interactions(path: Path, rows: int) -> None:
    """Write a `.csv` or `.parquet` file, unless it is there: few items have most of the interactions."""
    if path.exists():
        return
    random = np.random.default_rng(1)
    folder = path.with_suffix(".parts")
    folder.mkdir()
    for first in range(0, rows, _ROWS_AT_ONCE):
        count = min(_ROWS_AT_ONCE, rows - first)
        part = pl.DataFrame(
            {
                "user_id": random.integers(0, USERS, count),
                "item_id": (random.random(count) ** 3 * ITEMS).astype(np.int64),
                "rating": random.integers(1, 6, count).astype(np.float64),
                "timestamp": 1_500_000_000 + random.integers(0, 10**8, count),
            }
        ).with_columns(pl.format("user-{}", "user_id"), pl.format("item-{}", "item_id"))
        part.write_parquet(folder / f"{first:012d}.parquet")
    table = pl.scan_parquet(folder)
    if path.suffix == ".csv":
        table.sink_csv(path)
    else:
        table.sink_parquet(path, row_group_size=_ROWS_AT_ONCE)
    for part_path in folder.iterdir():
        part_path.unlink()
    folder.rmdir()
