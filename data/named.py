"""Tables of a configuration: a named data set, fetched once, or files."""

from collections.abc import Callable, Mapping

import polars as pl

from torchtowers.data.config import DataConfig, SplitConfig
from torchtowers.data.errors import DataError
from torchtowers.data.fetch import fetch
from torchtowers.data.movielens import load_movielens_100k
from torchtowers.data.readers import read_table, scan_table
from torchtowers.data.splits import PARTS
from torchtowers.data.tables import PART, Tables

__all__ = ["load_tables"]

_LOADERS = {"movielens-100k": load_movielens_100k}


def load_tables(data: DataConfig, split: SplitConfig, log: Callable[[str], None]) -> Tables:
    """Read the tables that a configuration names; interactions in files are read when they are needed.

    Args:
        data: The data set, fetched where it is not in the cache yet, or the paths.
        split: Of kind `files`, its paths take the place of the interactions'.
        log: Told what is fetched.

    Raises:
        DataError: Nothing is named, a data set can't be fetched, or a file can't be used.
    """
    if data.dataset is not None:
        return _LOADERS[data.dataset](fetch(data.dataset, log=log))
    return Tables(
        _interactions(data, split), _entities(data.users, data.user), _entities(data.items, data.item)
    )


def _interactions(data: DataConfig, split: SplitConfig) -> pl.LazyFrame:
    ids = (data.user, data.item)
    if split.kind == "files":
        paths = {part: path for part in PARTS if (path := getattr(split, part)) is not None}
        frames = {part: scan_table(path, ids) for part, path in paths.items()}
        _check_columns(frames)
        parts = [frame.with_columns(pl.lit(part).alias(PART)) for part, frame in frames.items()]
        return pl.concat(parts, how="diagonal_relaxed")
    if data.interactions is None:
        raise DataError(
            "data: nothing to read; name a data set (data.dataset) or a path (data.interactions), or give "
            "tables from code"
        )
    return scan_table(data.interactions, ids)


def _check_columns(frames: Mapping[str, pl.LazyFrame]) -> None:
    columns = {part: frame.collect_schema().names() for part, frame in frames.items()}
    for part, names in columns.items():
        odd = [name for name in columns["train"] if name not in names]
        if odd:
            raise DataError(
                f"split.{part}: there is no column {odd[0]}, which the training part has; it has "
                f"{', '.join(names)}: give all parts the same columns"
            )


def _entities(path: str | None, key: str) -> pl.DataFrame:
    return pl.DataFrame() if path is None else read_table(path, (key,))
