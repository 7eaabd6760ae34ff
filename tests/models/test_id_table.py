"""Rows and ids stay together while rows come and go."""

from typing import Any

import numpy as np
import pytest

from torchtowers.models.id_table import IdTable
from torchtowers.models.index import id_array


def table(*ids: Any) -> IdTable:
    return IdTable(id_array(ids))


def test_rows_of_ids() -> None:
    ids = table("a", "b", "a", "c")
    assert not ids.is_unique
    assert sorted(ids.rows(["a", "x", "c"])) == [0, 2, 3]
    assert ids.row_of_each(["c", "a", "x"]).tolist() == [3, 0, -1]


def test_added_rows_come_last_and_take_any_type() -> None:
    ids = table(1, 2)
    ids.add([5])
    assert ids.ids.dtype == np.int64
    ids.add(["a"])
    assert ids.ids.tolist() == [1, 2, 5, "a"]
    assert ids.row_of_each([5, "a"]).tolist() == [2, 3]
    assert ids.is_unique
    empty = table()
    empty.add([7])
    assert empty.ids.dtype == np.int64


def test_the_last_rows_move_to_the_places_of_those_removed() -> None:
    ids = table("a", "b", "c", "d", "e")
    free, moved = ids.remove(["e", "a", "b"])
    assert free.tolist() == [0, 1]
    assert moved.tolist() == [2, 3]
    assert ids.ids.tolist() == ["c", "d"]
    assert ids.row_of_each(["a", "c", "d", "e"]).tolist() == [-1, 0, 1, -1]
    ids.add(["a"])
    assert ids.ids.tolist() == ["c", "d", "a"]


def test_all_rows_of_a_shared_id_are_removed() -> None:
    ids = table("a", "b", "a", "c", "b")
    ids.remove(["a"])
    assert sorted(ids.ids.tolist()) == ["b", "b", "c"]
    assert sorted(ids.rows(["b"])) == [row for row, name in enumerate(ids.ids) if name == "b"]


def test_mistakes_are_named_and_change_nothing() -> None:
    ids = table("a", "b", "b")
    with pytest.raises(ValueError, match="'x', 'y' are given twice: give each once"):
        ids.add(["x", "y", "x", "y"])
    with pytest.raises(ValueError, match="'a' are in the index already: update them"):
        ids.add(["x", "a"])
    with pytest.raises(ValueError, match=r"'v', 'w', 'x' and 2 more are not in the index"):
        ids.remove(["v", "w", "x", "y", "z"])
    with pytest.raises(ValueError, match="'x' are not in the index: add them"):
        ids.known_rows(["a", "x"])
    with pytest.raises(ValueError, match="'b' are shared by several candidates"):
        ids.known_rows(["b"])
    assert ids.ids.tolist() == ["a", "b", "b"]


def test_ids_can_be_read_and_not_written() -> None:
    ids = table("a", "b", "c")
    with pytest.raises(ValueError, match="read-only"):
        ids.ids[0] = "x"
    ids.remove(["a"])
    assert ids.ids.tolist() == ["c", "b"]


def test_what_would_move_is_told_and_nothing_moved() -> None:
    ids = table("a", "b", "c", "b")
    assert [rows.tolist() for rows in ids.moves(["b"])] == [[1], [2]]
    assert ids.ids.tolist() == ["a", "b", "c", "b"]
    assert [rows.tolist() for rows in ids.remove(["b"])] == [[1], [2]]
    assert ids.ids.tolist() == ["a", "c"]


def test_an_id_that_could_be_asked_for_still_can_when_its_kind_is_gone() -> None:
    for first in (["a", 1, 2], ["a", 1, 1]):
        ids = table(*first)
        ids.remove(["a"])
        assert ids.rows(["a"]) == []


def test_rows_are_not_copied_for_each_that_comes() -> None:
    ids = table(*range(100))
    ids.add([100])
    memory = ids.ids.base
    for number in range(101, 140):
        ids.add([number])
    assert ids.ids.base is memory
    assert ids.ids.tolist() == list(range(140))


def test_ids_of_another_kind_are_refused_and_change_nothing() -> None:
    ids = table("1", "2")
    for ask in (ids.rows, ids.row_of_each, ids.known_rows, ids.remove):
        with pytest.raises(TypeError, match=r"ids are text, got numbers such as 1: give ids of the type"):
            ask(["1", 1])
    with pytest.raises(TypeError, match="are text, got bytes such as b'1'"):
        ids.rows([b"1"])
    assert ids.ids.tolist() == ["1", "2"]
    with pytest.raises(TypeError, match="are numbers, got text such as '5'"):
        table(1, 2).rows(np.array(["5"]))


def test_kinds_follow_what_is_added_and_removed() -> None:
    ids = table("1", "2")
    assert ids.rows(["2"]) == [1]
    ids.add([7])
    assert ids.rows([7, "1"]) == [2, 0]
    ids.remove(["1", "2", 7])
    assert ids.rows([1, "a", b"b"]) == [], "an empty table says nothing of kinds"
    ids.add([4])
    with pytest.raises(TypeError, match="are numbers, got text"):
        ids.rows(["1"])


def test_other_types_and_equal_numbers_are_asked_for_as_they_are() -> None:
    assert table("a").rows([None, ("a", 1)]) == []
    assert table(("a", 1)).rows([("a", 1)]) == [0]
    assert table(1, 2.5).rows([1.0, True, 2.5]) == [0, 0, 1]
