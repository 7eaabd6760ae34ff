"""Tables from files: Parquet, CSV and TSV, one file, a folder of shards or a pattern."""

import glob
from collections.abc import Collection, Sequence
from pathlib import Path

import polars as pl

from torchtowers.data.errors import DataError, shorten

__all__ = ["read_table", "reason_of", "scan_table", "table_files"]

_SEPARATORS = {".csv": ",", ".tsv": "\t"}
_OTHER_SEPARATORS = (";", "\t", "|", ",")
# What polars adds to a name that is there already.
_TWICE = "_duplicated_0"
_GZIP = b"\x1f\x8b"
_KINDS = (".parquet", ".csv", ".tsv", ".csv.gz", ".tsv.gz")


def table_files(path: str | Path) -> list[Path]:
    """Give the files of a path, in the order of their names.

    Args:
        path: A file, a folder of shards, or a pattern.

    Raises:
        DataError: There is none, or the files are not all of one kind.
    """
    place = Path(path)
    if place.is_dir():
        files = sorted(file for file in place.rglob("*") if file.is_file() and _kind(file) is not None)
    elif place.exists():
        files = [place]
    else:
        # pathlib's takes no pattern from the root on.
        files = sorted(Path(found) for found in glob.glob(str(path), recursive=True))  # noqa: PTH207
    if not files:
        raise DataError(
            f"{path}: there is no table; expected a file, a folder or a pattern of {', '.join(_KINDS)} files"
        )
    kinds = {_kind(file) for file in files}
    if None in kinds:
        odd = next(file for file in files if _kind(file) is None)
        raise DataError(f"{odd}: not a table by its name; known are {', '.join(_KINDS)}")
    if len(kinds) > 1:
        raise DataError(f"{path}: shards of several kinds, {' and '.join(sorted(map(str, kinds)))}: keep one")
    return files


def scan_table(path: str | Path, text: Collection[str] = ()) -> pl.LazyFrame:
    """Give a table that is read when it is needed.

    Args:
        path: As in `table_files`.
        text: Columns that are read as text from CSV and TSV, such as ids, whose leading zeros count.

    Raises:
        DataError: A file is empty, damaged or no table, or shards have different columns.
    """
    files = table_files(path)
    frames = [_scan(file, text) for file in files]
    schemas = [_schema(frame, file) for frame, file in zip(frames, files, strict=True)]
    common = _common_types(files, schemas)
    aligned = [frame.select(pl.col(name).cast(kind) for name, kind in common.items()) for frame in frames]
    return aligned[0] if len(aligned) == 1 else pl.concat(aligned)


def read_table(path: str | Path, text: Collection[str] = ()) -> pl.DataFrame:
    """Read a table; see `scan_table`.

    Raises:
        DataError: A file is empty, damaged or no table, or shards have different columns.
    """
    try:
        return scan_table(path, text).collect()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{path}: can't be read ({reason_of(error)})") from error


def reason_of(error: Exception) -> str:
    """Say in one line why polars can't read a file."""
    text = str(error).strip() or type(error).__name__
    if "utf-8" in text.lower():
        return "its text is not UTF-8: save it as UTF-8"
    if "more fields" in text:
        return "a row has more values than the header has columns: quote values that hold a separator"
    return shorten(text.splitlines()[0])


def _kind(file: Path) -> str | None:
    name = file.name.lower()
    found = [kind for kind in _KINDS if name.endswith(kind)]
    return max(found, key=len) if found else None


def _scan(file: Path, text: Collection[str]) -> pl.LazyFrame:
    if file.stat().st_size == 0:
        raise DataError(f"{file}: empty")
    kind = str(_kind(file))
    if kind == ".parquet":
        return pl.scan_parquet(file)
    if kind.endswith(".gz") and _begins(file) != _GZIP:
        raise DataError(f"{file}: not a table (its bytes are not gzip's)")
    separator = _SEPARATORS[kind.removesuffix(".gz")]
    try:
        first = pl.read_csv(file, separator=separator, n_rows=1, infer_schema=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{file}: not a table ({reason_of(error)})") from error
    _check_header(file, first.columns, separator)
    if not first.height:
        # Polars takes columns without a row for text, which other shards' need not be.
        return pl.LazyFrame(schema=dict.fromkeys(first.columns, pl.Null))
    overrides = {name: pl.String for name in first.columns if name in text}
    return pl.scan_csv(file, separator=separator, schema_overrides=overrides, infer_schema_length=10_000)


def _check_header(file: Path, header: Sequence[str], separator: str) -> None:
    line = " ".join(header)
    # Of UTF-16, every other byte; and what stands for bytes that are no UTF-8.
    if "\0" in line or "\N{REPLACEMENT CHARACTER}" in line:
        raise DataError(f"{file}: the names of its columns are not UTF-8: save it as UTF-8")
    others = [other for other in _OTHER_SEPARATORS if other in line]
    if len(header) == 1 and others:
        shown = {",": "commas", "\t": "tabs"}[separator]
        raise DataError(
            f"{file}: one column, {shorten(header[0])}: values are separated by {shown} in a file of this "
            f"name, and here it seems by {others[0]!r}: save it with {shown}"
        )
    twice = [name.removesuffix(_TWICE) for name in header if name.endswith(_TWICE)]
    if twice:
        raise DataError(f"{file}: the column {twice[0]} is there twice: rename one")


def _begins(file: Path) -> bytes:
    with file.open("rb") as stream:
        return stream.read(len(_GZIP))


def _schema(frame: pl.LazyFrame, file: Path) -> dict[str, pl.DataType]:
    try:
        return dict(frame.collect_schema())
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{file}: not a table ({reason_of(error)})") from error


def _common_types(files: Sequence[Path], schemas: Sequence[dict[str, pl.DataType]]) -> dict[str, pl.DataType]:
    """Give each column's type; integers in one shard and numbers in another are numbers."""
    common = dict(schemas[0])
    for file, schema in zip(files[1:], schemas[1:], strict=True):
        if schema.keys() != common.keys():
            odd = sorted(schema.keys() ^ common.keys())[0]
            raise DataError(
                f"{file}: the column {odd} is in this shard or in {files[0].name}, and not in the other: "
                "shards have to have the same columns"
            )
        for name, kind in schema.items():
            if kind == common[name]:
                continue
            if kind.is_numeric() and common[name].is_numeric():
                common[name] = pl.Float64() if kind.is_float() or common[name].is_float() else pl.Int64()
            elif kind == pl.Null:
                continue
            elif common[name] == pl.Null:
                common[name] = kind
            else:
                raise DataError(
                    f"{file}: the column {name} holds {kind}, and {common[name]} in {files[0].name}: "
                    "shards have to agree"
                )
    return common
