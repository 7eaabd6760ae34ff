"""GroupLens's zip becomes the atomic files: made-up rows, and the real data set turned back and forth."""

import hashlib
import io
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from torchtowers.data.errors import DataError, FetchError
from torchtowers.data.fetch import fetch_dataset
from torchtowers.data.movielens_files import INTERACTIONS, ITEMS, USERS
from torchtowers.data.movielens_grouplens import GENRES, from_grouplens
from torchtowers.data.movielens_source import MOVIELENS_100K


def convert(data: bytes, users: bytes, items: bytes) -> dict[str, bytes]:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in {"u.data": data, "u.user": users, "u.item": items}.items():
            archive.writestr(f"ml-100k/{name}", content)
    with zipfile.ZipFile(buffer) as archive:
        return from_grouplens(archive)


def item_line(number: str, title: str, genres: list[str]) -> str:
    flags = "|".join("1" if genre in genres else "0" for genre in GENRES)
    return f"{number}|{title}|01-Jan-1995||http://example.org/title?{number}|{flags}\n"


def test_three_files() -> None:
    files = convert(
        b"196\t242\t3\t881250949\n",
        b"1|24|M|technician|85711\n",
        item_line("1", "Toy Story (1995)", ["Animation", "Children's", "Comedy"]).encode("latin-1"),
    )
    assert files == {
        "ml-100k.inter": b"user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
        b"196\t242\t3\t881250949\n",
        "ml-100k.user": b"user_id:token\tage:token\tgender:token\toccupation:token\tzip_code:token\n"
        b"1\t24\tM\ttechnician\t85711\n",
        "ml-100k.item": b"item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
        b"1\tToy Story\t1995\tAnimation Children's Comedy\n",
    }


@pytest.mark.parametrize(
    ("came", "title", "year"),
    [
        ("Empire Strikes Back, The (1980)", "Empire Strikes Back, The", "1980"),
        ("Misérables, Les (1995)", "Misérables, Les", "1995"),
        ("Seven (Se7en) (1995)", "Seven (Se7en)", "1995"),
        ("187 (1997)", "187", "1997"),
        ("1984 (1984) (1985)", "1984 (1984)", "1985"),
        ("Made up for Video (1995) (V)", "Made up for Video", "1995"),
        ("With a Blank at its End (1996) ", "With a Blank at its End", "1996"),
        ("unknown", "unknown", ""),
    ],
)
def test_titles(came: str, title: str, year: str) -> None:
    files = convert(b"", b"", item_line("1", came, ["Drama"]).encode("latin-1"))
    assert files[ITEMS.name].decode().splitlines()[1] == f"1\t{title}\t{year}\tDrama"


def test_a_line_with_other_fields() -> None:
    good = item_line("1", "A (1990)", ["War"])
    with pytest.raises(DataError, match=r"line 2 of u\.item has 3 fields, 24 expected"):
        convert(b"", b"", f"{good}2|B (1991)|\n".encode())


@pytest.fixture(scope="module")
def recbole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real files, from the package index alone, so that no test asks GroupLens's server."""
    dataset = replace(MOVIELENS_100K, sources=MOVIELENS_100K.sources[:1])
    try:
        return fetch_dataset(dataset, cache=tmp_path_factory.mktemp("cache"), progress=False, log=print)
    except FetchError as error:
        pytest.skip(f"the package index can't be reached: {error}")


def test_real_data_turned_back_and_forth(recbole: Path) -> None:
    """u.data, u.user and u.item rebuilt from the atomic files convert to the same bytes."""
    atomic = {file.name: (recbole / file.name).read_bytes() for file in (INTERACTIONS, USERS, ITEMS)}
    data = atomic[INTERACTIONS.name].removeprefix(INTERACTIONS.header)
    users = atomic[USERS.name].removeprefix(USERS.header).replace(b"\t", b"|")
    items = "".join(map(original_item, atomic[ITEMS.name].decode().splitlines()[1:])).encode("latin-1")
    files = convert(data, users, items)
    sums = {file.name: file.sha256 for file in MOVIELENS_100K.files}
    assert sha256(files, INTERACTIONS.name) == sums[INTERACTIONS.name]
    assert sha256(files, USERS.name) == sums[USERS.name]
    theirs, ours = (content[ITEMS.name].decode().splitlines() for content in (atomic, files))
    assert [ours[0][:8], len(ours)] == ["item_id:", 1 + ITEMS.rows]
    differing = [line.split("\t")[0] for line, other in zip(ours, theirs, strict=True) if line != other]
    assert differing == ["267", "1412"]
    assert ours[267] == "267\tunknown\t\tunknown"
    assert ours[1412].split("\t")[1:3] == ["Land Before Time III: The Time of the Great Giving", "1995"]


def original_item(line: str) -> str:
    number, title, year, genres = line.split("\t")
    whole = "unknown" if title == "unkonwn" else f"{title} ({year})"
    return item_line(number, whole, genres.split(" "))


def sha256(files: Mapping[str, bytes], name: str) -> str:
    return hashlib.sha256(files[name]).hexdigest()
