"""Tables from files of every kind, alone and as shards."""

import gzip
from pathlib import Path

import polars as pl
import pytest

from torchtowers.data.errors import DataError
from torchtowers.data.readers import read_table

TABLE = pl.DataFrame({"user_id": ["007", "8"], "item_id": ["a", "b"], "rating": [1.5, 4.0]})


def write(table: pl.DataFrame, path: Path) -> None:
    name = path.name
    if name.endswith(".parquet"):
        table.write_parquet(path)
        return
    text = table.write_csv(separator="\t" if ".tsv" in name else ",")
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())


@pytest.mark.parametrize("name", ["t.parquet", "t.csv", "t.tsv", "t.csv.gz", "t.tsv.gz"])
def test_every_kind_of_file_gives_the_same_table(name: str, tmp_path: Path) -> None:
    write(TABLE, tmp_path / name)
    assert read_table(tmp_path / name, ("user_id", "item_id")).equals(TABLE)


@pytest.mark.parametrize("path", ["shards", "shards/*.csv", "shards/part-[12].csv"])
def test_shards_are_one_table_in_the_order_of_their_names(path: str, tmp_path: Path) -> None:
    (tmp_path / "shards").mkdir()
    write(TABLE[1:], tmp_path / "shards" / "part-2.csv")
    write(TABLE[:1], tmp_path / "shards" / "part-1.csv")
    assert read_table(tmp_path / path, ("user_id", "item_id")).equals(TABLE)


def test_integers_of_one_shard_are_numbers_where_another_has_such(tmp_path: Path) -> None:
    pl.DataFrame({"rating": [4]}).write_csv(tmp_path / "1.csv")
    pl.DataFrame({"rating": [4.5]}).write_csv(tmp_path / "2.csv")
    assert read_table(tmp_path)["rating"].to_list() == [4.0, 4.5]


def test_columns_may_stand_in_another_order(tmp_path: Path) -> None:
    write(TABLE, tmp_path / "1.parquet")
    write(TABLE.select("rating", "item_id", "user_id"), tmp_path / "2.parquet")
    assert read_table(tmp_path).equals(pl.concat([TABLE, TABLE]))


def test_shards_that_disagree_name_the_shard_and_the_column(tmp_path: Path) -> None:
    write(TABLE, tmp_path / "1.parquet")
    write(TABLE.drop("rating"), tmp_path / "2.parquet")
    with pytest.raises(DataError, match=r"2\.parquet: the column rating"):
        read_table(tmp_path)


def test_types_that_disagree_name_the_shard_and_the_column(tmp_path: Path) -> None:
    write(TABLE, tmp_path / "1.parquet")
    write(TABLE.with_columns(pl.lit("good").alias("rating")), tmp_path / "2.parquet")
    with pytest.raises(DataError, match=r"2\.parquet: the column rating holds String, and Float64"):
        read_table(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("t.csv", b"", "empty"),
        ("t.parquet", b"no parquet", "not a table"),
        ("t.csv.gz", b"no gzip", "not a table"),
        ("t.xlsx", b"rows", "not a table by its name"),
    ],
)
def test_what_is_no_table_is_refused(name: str, content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=said):
        read_table(tmp_path / name)


def test_nothing_there_says_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no table; expected a file, a folder or a pattern"):
        read_table(tmp_path / "none.csv")


def test_shards_of_several_kinds_are_refused(tmp_path: Path) -> None:
    write(TABLE, tmp_path / "1.parquet")
    write(TABLE, tmp_path / "2.csv")
    with pytest.raises(DataError, match="shards of several kinds"):
        read_table(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("t.csv", b"user;item\na;b\n", "one column, user;item: .* here it seems by ';': save it with commas"),
        ("t.csv", b"user\titem\na\tb\n", "one column, user item: .* save it with commas"),
        ("t.tsv", b"user,item\na,b\n", "one column, user,item: .* by ',': save it with tabs"),
        (
            "t.csv",
            "user,item\na,b\n".encode("utf-16"),
            "are not UTF-8: save it as UTF-8",
        ),
        ("t.csv", "usér,item\na,b\n".encode("latin-1"), "names of its columns are not UTF-8"),
        ("t.csv", "user,item\n\u00e9,b\n".encode("latin-1"), "its text is not UTF-8: save it as UTF-8"),
        ("t.csv", b"user,item,user\na,b,c\n", "the column user is there twice: rename one"),
        ("t.csv", b"user,item\na,b,c\n", "a row has more values than the header has columns"),
    ],
)
def test_a_csv_that_is_none_says_what_to_do(name: str, content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=said) as caught:
        read_table(tmp_path / name)
    assert name in str(caught.value)


def test_a_shard_without_rows_has_whatever_types_the_others_have(tmp_path: Path) -> None:
    (tmp_path / "1.csv").write_text("user_id,item_id,rating\n")
    write(TABLE, tmp_path / "2.csv")
    assert read_table(tmp_path, ("user_id", "item_id")).equals(TABLE)
