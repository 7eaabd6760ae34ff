"""MovieLens 100K as tables, checked while it is read.

F. Maxwell Harper and Joseph A. Konstan. 2015. The MovieLens Datasets: History and Context.
ACM TiiS 5, 4, Article 19. https://doi.org/10.1145/2827872
"""

from pathlib import Path

import polars as pl

from torchtowers.data.errors import DataError
from torchtowers.data.movielens_files import FETCH_COMMAND, INTERACTIONS, ITEMS, USERS, AtomicFile
from torchtowers.data.tables import Tables
from torchtowers.handlers.errors import shorten

__all__ = ["load_movielens_100k"]

_MEND = f"remove it and run `{FETCH_COMMAND}`"


def load_movielens_100k(folder: Path) -> Tables:
    """Read the three files that `torchtowers data fetch movielens-100k` leaves in a folder.

    Args:
        folder: Holds `ml-100k.inter`, `ml-100k.user` and `ml-100k.item`.

    Returns:
        100,000 interactions (`user_id`, `item_id`, `rating`, `timestamp`), 943 users (`user_id`, `age` in
        years, `gender`, `occupation`, `zip_code`) and 1,682 items (`item_id`, `title`, `year`, null where
        unknown, `genres`); every interaction's user and item is in its table.

    Raises:
        DataError: A file is missing, truncated, has other columns or holds a value that can't be used.

    Example:
        >>> tables = load_movielens_100k(fetch("movielens-100k", log=print))  # doctest: +SKIP
        >>> tables.interactions.height  # doctest: +SKIP
        100000
    """
    interactions = _interactions(folder)
    tables = Tables(interactions, _users(folder), _items(folder))
    _check_unique(tables.users, "user_id", folder / USERS.name)
    _check_unique(tables.items, "item_id", folder / ITEMS.name)
    _check_known(interactions, tables.users, "user_id", folder / INTERACTIONS.name)
    _check_known(interactions, tables.items, "item_id", folder / INTERACTIONS.name)
    return tables


def _interactions(folder: Path) -> pl.DataFrame:
    table = _read(folder, INTERACTIONS)
    path = folder / INTERACTIONS.name
    return _cast(_cast(table, "rating", pl.Float64(), path), "timestamp", pl.Int64(), path)


def _users(folder: Path) -> pl.DataFrame:
    return _cast(_read(folder, USERS), "age", pl.Int64(), folder / USERS.name)


def _items(folder: Path) -> pl.DataFrame:
    # A year may be unknown: GroupLens's own file has one title without.
    table = _read(folder, ITEMS, nullable=("release_year",))
    dated = pl.col("release_year").str.contains(r"^\d{4}$").fill_null(False)
    inside = r"\s*\((\d{4})\)$"
    title = pl.col("movie_title")
    return table.select(
        "item_id",
        # Two rows of RecBole's file are defective: 267 is "unkonwn" twice, and 1412, in the original
        # "... (1995) (V)", has the year V and keeps its own in the title.
        pl.when(dated)
        .then(title)
        .when(title == "unkonwn")
        .then(pl.lit("unknown"))
        .otherwise(title.str.replace(inside, ""))
        .alias("title"),
        pl.when(dated)
        .then("release_year")
        .otherwise(title.str.extract(inside, 1))
        .cast(pl.Int64)
        .alias("year"),
        pl.col("class").str.split(" ").alias("genres"),
    )


def _read(folder: Path, file: AtomicFile, nullable: tuple[str, ...] = ()) -> pl.DataFrame:
    """Read one file as strings, with the `:type` of its columns taken off."""
    path = folder / file.name
    _check_ends(path, file)
    try:
        table = pl.read_csv(path, separator="\t", quote_char=None, infer_schema=False)
    except pl.exceptions.PolarsError as error:
        raise DataError(f"{path}: not a table ({shorten(str(error))}); {_MEND}") from error
    if table.height != file.rows:
        raise DataError(f"{path}: {table.height:,} rows came, {file.rows:,} expected; {_MEND}")
    table = table.rename({column: column.partition(":")[0] for column in file.columns})
    for column in table.columns:
        if column not in nullable and table[column].null_count():
            row = table[column].is_null().arg_true()[0]
            raise DataError(f"{path}: line {row + 2} has no {column}; {_MEND}")
    return table


def _check_ends(path: Path, file: AtomicFile) -> None:
    """Compare the header line, and see that the last line is whole, which the number of rows can't tell."""
    try:
        with path.open("rb") as lines:
            first = lines.readline(1_000)
            lines.seek(max(0, path.stat().st_size - 1))
            last = lines.read()
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; run `{FETCH_COMMAND}`") from None
    except OSError as error:
        raise DataError(f"{path}: can't be read ({error.strerror}); check the folder's rights") from error
    if first != file.header:
        came = shorten(first.decode("latin-1").strip() or "an empty line")
        expected = " ".join(file.columns)
        raise DataError(f"{path}: the columns {came} came, {expected} expected; {_MEND}")
    if last != b"\n":
        raise DataError(f"{path}: ends in the middle of a line; {_MEND}")


def _cast(table: pl.DataFrame, column: str, kind: pl.DataType, path: Path) -> pl.DataFrame:
    values = table[column].cast(kind, strict=False)
    usable = values.is_finite().fill_null(False)
    if not usable.all():
        row = (~usable).arg_true()[0]
        came = shorten(table[column][row])
        raise DataError(f"{path}: line {row + 2} has the {column} {came}, a number expected; {_MEND}")
    return table.with_columns(values)


def _check_unique(table: pl.DataFrame, column: str, path: Path) -> None:
    repeated = table.filter(pl.col(column).is_duplicated())
    if repeated.height:
        raise DataError(f"{path}: {column} {shorten(repeated[column][0])} comes more than once; {_MEND}")


def _check_known(interactions: pl.DataFrame, table: pl.DataFrame, column: str, path: Path) -> None:
    unknown = interactions.join(table, on=column, how="anti")
    if unknown.height:
        came = shorten(unknown[column][0])
        raise DataError(f"{path}: {column} {came} is rated, and not in the table of its kind; {_MEND}")
