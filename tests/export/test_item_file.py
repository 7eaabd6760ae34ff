from pathlib import Path

import polars as pl
import pytest

from torchtowers.data.errors import DataError
from torchtowers.data.id_rows import hashes_of
from torchtowers.export import item_file
from torchtowers.export.item_file import ItemFile
from torchtowers.handlers.encoders import NumberEncoder
from torchtowers.handlers.signature import sha256_of


@pytest.fixture
def path(tmp_path: Path) -> Path:
    # An item may be a user, as where people are recommended.
    table = pl.DataFrame({"user_id": [3, None, 1, 2], "age": [1, 2, None, 4], "other": [0, 0, 0, 0]})
    table.write_parquet(tmp_path / "people.parquet")
    return tmp_path / "people.parquet"


def people(path: Path) -> ItemFile:
    return ItemFile(path, "user_id", {"age": NumberEncoder("standardize", 0.0, 1.0)}, ["user_id"])


def test_reads_what_is_needed_in_parts(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(item_file, "_ROWS_AT_ONCE", 2)
    parts = list(people(path).parts())
    assert [part.height for part in parts] == [1, 2]
    whole = pl.concat(parts)
    assert whole.to_dict(as_series=False) == {"user_id": ["3", "1", "2"], "age": [1, None, 4]}
    ids, left_out = people(path).ids()
    assert left_out == 1
    assert ids.find(hashes_of(pl.Series(["2", "4", "3"]))).tolist() == [2, -1, 0]


def test_names_its_files(path: Path) -> None:
    assert people(path).sources == [{"file": "people.parquet", "sha256": sha256_of(path)}]


def test_a_missing_column_is_told_before_anything_is_read(path: Path) -> None:
    with pytest.raises(
        DataError, match=r"data\.columns: there is no column title; the items' table has user_id"
    ):
        ItemFile(path, "user_id", {}, ["title"])
