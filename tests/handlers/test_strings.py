"""String tables: what goes in comes out, and malformed files are refused."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.handlers.small import all_of, examples, json_texts
from torchtowers.handlers.errors import ArtifactError
from torchtowers.handlers.strings import StringTable, StringTableWriter


def test_packs_utf8() -> None:
    table = StringTable.of(["a", "", "été"])
    assert len(table) == 3
    assert [table.raw(row) for row in range(3)] == [b"a", b"", "été".encode()]
    assert all_of(table) == ["a", "", "été"]


@examples(60)
@given(st.lists(st.text()))
def test_comes_back_from_its_files(tmp_path_factory: pytest.TempPathFactory, strings: list[str]) -> None:
    folder = tmp_path_factory.getbasetemp()
    StringTable.of(strings).save(folder, "columns/title")
    assert all_of(StringTable.load(folder, "columns/title")) == strings


def test_names_its_files(tmp_path: Path) -> None:
    StringTable.of(["a"]).save(tmp_path, "index/ids")
    written = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.npy")}
    assert written == set(StringTable.files("index/ids"))


@pytest.mark.parametrize("offsets", [[], [0], [0, 3], [1, 2], [0, 5, 2], [0, -1, 2], [0, 2, 1]])
def test_refuses_offsets_that_do_not_fit(tmp_path: Path, offsets: list[int]) -> None:
    bytes_file, offsets_file = StringTable.files("ids")
    np.save(tmp_path / bytes_file, np.frombuffer(b"ab", np.uint8))
    np.save(tmp_path / offsets_file, np.array(offsets, np.int64))
    with pytest.raises(ArtifactError, match="offsets do not fit its values"):
        StringTable.load(tmp_path, "ids")


@pytest.mark.parametrize("lost", [0, 1])
def test_refuses_a_missing_file(tmp_path: Path, lost: int) -> None:
    StringTable.of(["a"]).save(tmp_path, "ids")
    (tmp_path / StringTable.files("ids")[lost]).unlink()
    with pytest.raises(ArtifactError, match="can't be read"):
        StringTable.load(tmp_path, "ids")


def test_parses_its_json() -> None:
    values: list[object] = ["a", None, 1.5, ["x", {"y": 'z"'}], "été"]
    assert json_texts(values).json_values("column title") == values
    assert StringTable.of([]).json_values("column title") == []


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["1", "NaN"], "NaN is not JSON"),
        (["-Infinity"], "-Infinity is not JSON"),
        (["a"], "Expecting value"),
        ([""], "0 JSON values"),
        (["1,2"], "1 rows hold 2 JSON values"),
        (["[1", "2]"], "2 rows hold 1 JSON values"),
        (["1] ["], "Extra data"),
        (["[" * 100_000], "not JSON"),
    ],
)
def test_refuses_texts_that_are_no_json(texts: list[str], message: str) -> None:
    with pytest.raises(ArtifactError, match=r"^column title: ") as caught:
        StringTable.of(texts).json_values("column title")
    assert message in str(caught.value)


def test_refuses_bytes_that_are_no_utf8() -> None:
    table = StringTable(np.frombuffer(b'"\xff"', np.uint8), np.array([0, 3]))
    with pytest.raises(ArtifactError, match="not JSON"):
        table.json_values("column title")


@examples(40)
@given(st.lists(st.recursive(st.none() | st.integers() | st.text(), st.lists, max_leaves=4)))
def test_json_of_any_values_comes_back(values: list[object]) -> None:
    table = json_texts(values)
    assert table.json_values("column") == values
    assert [json.loads(table.raw(row)) for row in range(len(table))] == values


@examples(40)
@given(st.lists(st.lists(st.text())))
def test_parts_give_the_files_of_the_whole(
    tmp_path_factory: pytest.TempPathFactory, parts: list[list[str]]
) -> None:
    folder = tmp_path_factory.getbasetemp()
    with StringTableWriter(folder, "parts") as writer:
        for part in parts:
            # A part of a table, whose offsets begin elsewhere.
            table = StringTable.of(["before", *part])
            writer.append(table.take(range(1, len(table))))
    StringTable.of([string for part in parts for string in part]).save(folder, "whole")
    for one, two in zip(StringTable.files("parts"), StringTable.files("whole"), strict=True):
        assert (folder / one).read_bytes() == (folder / two).read_bytes()


def test_gives_some_rows() -> None:
    table = StringTable.of(["a", "", "été", "b"])
    assert all_of(table.take([2, 0, 2])) == ["été", "a", "été"]
    assert all_of(table.take([])) == []
