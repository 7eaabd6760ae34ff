"""Reading the atomic files: what comes out, and what each damage is called. All data here is made up."""

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from tests.frames import interactions_of
from torchtowers.data.errors import DataError
from torchtowers.data.movielens import load_movielens_100k
from torchtowers.data.movielens_files import INTERACTIONS, ITEMS, USERS

LAND = "Land Before Time III: The Time of the Great Giving"


def items() -> list[str]:
    lines = [f"{n}\tFilm {n}\t{1930 + n % 60}\tDrama War" for n in range(1, 1_683)]
    lines[0] = "1\tEmpire Strikes Back, The\t1980\tAction"
    lines[1] = "2\tMisérables, Les (Wretched, The)\t1995\tDrama"
    lines[2] = '3\tSo "called" (1994)\t1995\tDrama'
    lines[266] = "267\tunkonwn\tunkonwn\tunknown"
    lines[1_411] = f"1412\t{LAND} (1995)\tV\tAnimation Children's"
    return lines


def write(path: Path, header: bytes, lines: list[str]) -> None:
    path.write_bytes(header + "".join(f"{line}\n" for line in lines).encode())


@pytest.fixture(scope="module")
def whole() -> dict[str, bytes]:
    ratings = (f"{1 + n % 943}\t{1 + n % 1682}\t{1 + n % 5}\t{900_000_000 - n}\n" for n in range(100_000))
    users = (f"{n}\t{20 + n % 50}\tF\twriter\t{n:05}\n" for n in range(1, 944))
    return {
        INTERACTIONS.name: INTERACTIONS.header + "".join(ratings).encode(),
        USERS.name: USERS.header + "".join(users).encode(),
        ITEMS.name: ITEMS.header + "".join(f"{line}\n" for line in items()).encode(),
    }


@pytest.fixture
def folder(tmp_path: Path, whole: dict[str, bytes]) -> Path:
    for name, content in whole.items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


def test_tables(folder: Path) -> None:
    tables = load_movielens_100k(folder)
    assert tables.interactions.schema == {
        "user_id": pl.String(),
        "item_id": pl.String(),
        "rating": pl.Float64(),
        "timestamp": pl.Int64(),
    }
    assert tables.users.schema == {
        "user_id": pl.String(),
        "age": pl.Int64(),
        "gender": pl.String(),
        "occupation": pl.String(),
        "zip_code": pl.String(),
    }
    assert tables.items.schema == {
        "item_id": pl.String(),
        "title": pl.String(),
        "year": pl.Int64(),
        "genres": pl.List(pl.String()),
    }
    assert (interactions_of(tables).height, tables.users.height, tables.items.height) == (100_000, 943, 1_682)
    assert interactions_of(tables).row(1) == ("2", "2", 2.0, 899_999_999)
    assert tables.users.row(6) == ("7", 27, "F", "writer", "00007")


def test_order_of_rows_is_the_files(folder: Path) -> None:
    stamps = interactions_of(load_movielens_100k(folder))["timestamp"]
    assert stamps.to_list() == list(range(900_000_000, 899_900_000, -1))


def test_defective_rows_are_mended(folder: Path) -> None:
    table = load_movielens_100k(folder).items
    assert table.row(266) == ("267", "unknown", None, ["unknown"])
    assert table.row(1_411) == ("1412", LAND, 1995, ["Animation", "Children's"])
    assert table["year"].null_count() == 1


def test_other_titles_stay(folder: Path) -> None:
    titles = load_movielens_100k(folder).items["title"].to_list()
    assert titles[:3] == ["Empire Strikes Back, The", "Misérables, Les (Wretched, The)", 'So "called" (1994)']


def test_an_empty_year_is_unknown(folder: Path) -> None:
    lines = items()
    lines[266] = "267\tunknown\t\tunknown"
    write(folder / ITEMS.name, ITEMS.header, lines)
    assert load_movielens_100k(folder).items.row(266) == ("267", "unknown", None, ["unknown"])


@pytest.mark.parametrize("name", [INTERACTIONS.name, USERS.name, ITEMS.name])
def test_missing_file(folder: Path, name: str) -> None:
    (folder / name).unlink()
    check_error(folder, name, "no such file")


@pytest.mark.parametrize("name", [INTERACTIONS.name, USERS.name, ITEMS.name])
@pytest.mark.parametrize(
    ("cut", "said"),
    [
        (lambda content: content[: len(content) // 2].rpartition(b"\n")[0] + b"\n", "expected"),
        (lambda content: content[:-3], "middle of a line"),
        (lambda content: content[:20], "columns"),
        (lambda content: b"", "columns an empty line came"),
    ],
    ids=["at a line", "in the last line", "in the header", "to nothing"],
)
def test_truncated_file(folder: Path, name: str, cut: Callable[[bytes], bytes], said: str) -> None:
    path = folder / name
    path.write_bytes(cut(path.read_bytes()))
    check_error(folder, name, said)


def test_wrong_columns(folder: Path) -> None:
    path = folder / USERS.name
    path.write_bytes(path.read_bytes().replace(b"age:token", b"years:token", 1))
    check_error(folder, USERS.name, "years:token")


@pytest.mark.parametrize(
    ("name", "old", "new", "said"),
    [
        (
            INTERACTIONS.name,
            b"\n1\t1\t1\t",
            b"\n1\t1\tgood\t",
            "line 2 has the rating good, a number expected",
        ),
        (INTERACTIONS.name, b"\n1\t1\t1\t", b"\n1\t1\tnan\t", "line 2 has the rating nan, a number expected"),
        (INTERACTIONS.name, b"\n1\t1\t1\t", b"\n1\t\t1\t", "line 2 has no item_id"),
        (INTERACTIONS.name, b"\n1\t1\t1\t", b"\n1\t1\t1\t1\t", "not a table"),
        (INTERACTIONS.name, b"\n1\t1\t1\t", b"\n944\t1\t1\t", "user_id 944 is rated"),
        (INTERACTIONS.name, b"\n1\t1\t1\t", b"\n1\t1683\t1\t", "item_id 1683 is rated"),
        (USERS.name, b"\n7\t27\t", b"\n7\told\t", "line 8 has the age old, a number expected"),
        (USERS.name, b"\n7\t27\t", b"\n8\t27\t", "user_id 8 comes more than once"),
        (ITEMS.name, b"\n7\tFilm 7", b"\n8\tFilm 7", "item_id 8 comes more than once"),
        (ITEMS.name, b"\n7\tFilm 7", b"\n7\t\xff", "not a table"),
    ],
)
def test_wrong_values(folder: Path, name: str, old: bytes, new: bytes, said: str) -> None:
    path = folder / name
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new, 1))
    check_error(folder, name, said)


def test_a_folder_in_place_of_a_file(folder: Path) -> None:
    (folder / USERS.name).unlink()
    (folder / USERS.name).mkdir()
    with pytest.raises(DataError, match=r"ml-100k\.user: can't be read"):
        load_movielens_100k(folder)


def check_error(folder: Path, name: str, said: str) -> None:
    with pytest.raises(DataError) as caught:
        load_movielens_100k(folder)
    text = str(caught.value)
    assert str(folder / name) in text
    assert said in text
    assert "`torchtowers data fetch movielens-100k`" in text
    assert "\n" not in text
