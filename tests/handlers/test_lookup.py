"""Features of known entities."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.handlers.small import examples
from torchtowers.handlers.encoders import FIRST_TOKEN
from torchtowers.handlers.errors import ArtifactError
from torchtowers.handlers.lookup import LookupColumn


def test_gives_a_scalar_by_the_index_of_the_key() -> None:
    column = LookupColumn(np.array([3, 0]), None)
    assert len(column) == 2
    assert column.get(FIRST_TOKEN) == 3
    assert column.get(FIRST_TOKEN + 1) == 0


def test_gives_a_list_by_the_index_of_the_key() -> None:
    column = LookupColumn(np.array([5, 6, 7]), np.array([0, 2, 2, 3]))
    assert [column.get(FIRST_TOKEN + row) for row in range(len(column))] == [[5, 6], [], [7]]


@examples(40)
@given(st.lists(st.lists(st.integers(0, 9))))
def test_lists_come_back_from_their_files(
    tmp_path_factory: pytest.TempPathFactory, lists: list[list[int]]
) -> None:
    folder = tmp_path_factory.getbasetemp()
    values = np.array([value for row in lists for value in row], dtype=np.int64)
    offsets = np.cumsum([0, *map(len, lists)])
    LookupColumn(values, offsets).save(folder, "lookup/history")
    column = LookupColumn.load(folder, "lookup/history", is_list=True, keys=len(lists), size=10)
    assert [column.get(FIRST_TOKEN + row) for row in range(len(lists))] == lists


@pytest.mark.parametrize("is_list", [False, True])
def test_names_its_files(tmp_path: Path, is_list: bool) -> None:
    LookupColumn(np.array([1]), np.array([0, 1]) if is_list else None).save(tmp_path, "age")
    assert {path.name for path in tmp_path.iterdir()} == set(LookupColumn.files("age", is_list=is_list))


@pytest.mark.parametrize(
    ("values", "offsets", "message"),
    [
        ([1, 2, 3], None, "expected 2 rows, got 3"),
        ([1], [0, 1], "expected 2 rows, got 1"),
        ([1], [0, 0, 2], "offsets do not fit"),
        ([1, 4], None, "expected indices from 0 to 3, got 1 to 4"),
        ([-1, 2], None, "expected indices from 0 to 3, got -1 to 2"),
        ([9], [0, 0, 1], "expected indices from 0 to 3, got 9 to 9"),
    ],
)
def test_refuses_what_does_not_fit(
    tmp_path: Path, values: list[int], offsets: list[int] | None, message: str
) -> None:
    LookupColumn(np.array(values), None if offsets is None else np.array(offsets)).save(tmp_path, "age")
    with pytest.raises(ArtifactError, match=message):
        LookupColumn.load(tmp_path, "age", is_list=offsets is not None, keys=2, size=4)


def test_refuses_a_missing_file(tmp_path: Path) -> None:
    LookupColumn(np.array([1, 2]), None).save(tmp_path, "age")
    with pytest.raises(ArtifactError, match=r"age.offsets.npy in .* can't be read"):
        LookupColumn.load(tmp_path, "age", is_list=True, keys=2, size=4)
