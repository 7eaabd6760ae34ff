"""Features of known entities."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.handlers.small import examples
from torchtowers.handlers.encoders import (
    NumberEncoder,
    TensorSpec,
    TokenEncoder,
    Vocabulary,
    WeightedListEncoder,
)
from torchtowers.handlers.errors import ArtifactError
from torchtowers.handlers.lookup import FeatureLookup, LookupColumn

INDEX = TensorSpec("", "int64", ("batch",))
LIST = TensorSpec("", "int64", ("batch", "length"))


def test_gives_a_scalar_by_the_index_of_the_key() -> None:
    column = LookupColumn(np.array([3, 0]), None)
    assert len(column) == 2
    assert column.get(0) == 3
    assert column.get(1) == 0


def test_gives_a_list_by_the_index_of_the_key() -> None:
    column = LookupColumn(np.array([5, 6, 7]), np.array([0, 2, 2, 3]))
    assert [np.asarray(column.get(row)).tolist() for row in range(len(column))] == [[5, 6], [], [7]]


@examples(40)
@given(st.lists(st.lists(st.integers(0, 9))))
def test_lists_come_back_from_their_files(
    tmp_path_factory: pytest.TempPathFactory, lists: list[list[int]]
) -> None:
    folder = tmp_path_factory.getbasetemp()
    values = np.array([value for row in lists for value in row], dtype=np.int64)
    offsets = np.cumsum([0, *map(len, lists)])
    LookupColumn(values, offsets).save(folder, "lookup/history")
    column = LookupColumn.load(folder, "lookup/history", LIST, keys=len(lists), size=10)
    assert [np.asarray(column.get(row)).tolist() for row in range(len(lists))] == lists


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
        LookupColumn.load(tmp_path, "age", INDEX if offsets is None else LIST, keys=2, size=4)


def test_refuses_a_missing_file(tmp_path: Path) -> None:
    LookupColumn(np.array([1, 2]), None).save(tmp_path, "age")
    with pytest.raises(ArtifactError, match=r"age.offsets.npy in .* can't be read"):
        LookupColumn.load(tmp_path, "age", LIST, keys=2, size=4)


def test_numbers_come_back_as_they_were_encoded(tmp_path: Path) -> None:
    encoder = NumberEncoder("standardize", 1.0, 3.0)
    values = [2.5, None, -1]
    LookupColumn(encoder.encode(values), None).save(tmp_path, "lookup/price")
    lookup = FeatureLookup.load(tmp_path, "lookup/price", encoder, keys=3)
    assert [lookup.get(row) for row in range(3)] == [encoder.encode_value(value, "price") for value in values]


def test_lists_with_weights_come_back_as_they_were_encoded(tmp_path: Path) -> None:
    encoder = WeightedListEncoder(Vocabulary(["a", "b"]), 3)
    offsets = np.array([0, 2, 2])
    LookupColumn(np.array([2, 3]), offsets).save(tmp_path, "lookup/tastes")
    LookupColumn(np.array([0.5, -2], dtype=np.float32), offsets).save(tmp_path, "lookup/tastes.weight")
    lookup = FeatureLookup.load(tmp_path, "lookup/tastes", encoder, keys=2)
    for row, value in enumerate([{"a": 0.5, "b": -2}, None]):
        assert tuple(part.tolist() for part in lookup.get(row)) == encoder.encode_value(value, "tastes")
    LookupColumn(np.array([0.5, -2], dtype=np.float32), np.array([0, 1, 2])).save(
        tmp_path, "lookup/tastes.weight"
    )
    with pytest.raises(ArtifactError, match="its lists differ in length"):
        FeatureLookup.load(tmp_path, "lookup/tastes", encoder, keys=2)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([[1.0, np.nan], [0, 0]], "expected finite numbers"),
        ([[1.0, 0, 0], [0, 0, 0]], r"expected rows of \(2,\) numbers"),
        ([1.0, 2.0], "expected 2 dimensions of float32, got 1"),
        ([[1.0, 0]], "expected 2 rows, got 1"),
    ],
)
def test_refuses_numbers_that_do_not_fit(tmp_path: Path, values: list[object], message: str) -> None:
    LookupColumn(np.array(values, dtype=np.float32), None).save(tmp_path, "price")
    with pytest.raises(ArtifactError, match=message):
        FeatureLookup.load(tmp_path, "price", NumberEncoder("log", 0.0, 1.0), keys=2)


def test_refuses_indices_of_another_type(tmp_path: Path) -> None:
    LookupColumn(np.array([1.0, 2.0], dtype=np.float32), None).save(tmp_path, "user")
    with pytest.raises(ArtifactError, match="expected 1 dimensions of int64, got 1 of float32"):
        FeatureLookup.load(tmp_path, "user", TokenEncoder(Vocabulary(["a"])), keys=2)
