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
    with pytest.raises(ValueError, match=r"1, 2, 3 and 2 more are not in the index"):
        ids.remove([1, 2, 3, 4, 5])
    with pytest.raises(ValueError, match="'x' are not in the index: add them"):
        ids.known_rows(["a", "x"])
    with pytest.raises(ValueError, match="'b' are shared by several candidates"):
        ids.known_rows(["b"])
    assert ids.ids.tolist() == ["a", "b", "b"]


def test_rows_are_not_copied_for_each_that_comes() -> None:
    ids = table(*range(100))
    ids.add([100])
    memory = ids.ids.base
    for number in range(101, 140):
        ids.add([number])
    assert ids.ids.base is memory
    assert ids.ids.tolist() == list(range(140))
