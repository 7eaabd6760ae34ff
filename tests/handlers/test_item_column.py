"""Item columns as filters compare them: against what a plain reading of their values gives."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.handlers.small import examples, json_texts, json_values
from torchtowers.export.column_writer import column_of, write_filter
from torchtowers.handlers.errors import ArtifactError, FieldError, LimitError, RequestError
from torchtowers.handlers.item_column import ItemColumn

GENRES: list[object] = [["Drama"], [], None, ["Comedy", "Drama"], ["Été"]]
YEARS: list[object] = [1999, None, 2001.5, -3, 1999]


def fits(column: ItemColumn, wanted: object) -> list[int]:
    """Give the rows that a condition lets through."""
    return np.flatnonzero(column.mask(column.condition("c", wanted, "filter.c", 9))).tolist()


@pytest.mark.parametrize(
    ("values", "wanted", "rows"),
    [
        (GENRES, "Drama", [0, 3]),
        (GENRES, ["Comedy", "Été", "nothing"], [3, 4]),
        (GENRES, "nothing", []),
        (GENRES, [], []),
        (GENRES, "\ud800", []),
        (YEARS, 1999, [0, 4]),
        (YEARS, 1999.0, [0, 4]),
        (YEARS, [2001.5, -3, 7], [2, 3]),
        (YEARS, {"min": 1999}, [0, 2, 4]),
        (YEARS, {"max": 1999}, [0, 3, 4]),
        (YEARS, {"min": -3, "max": 1999}, [0, 3, 4]),
        (YEARS, {"min": 2, "max": 1}, []),
        (YEARS, 10**400, []),
        (["a", None, "b", "a"], ["b"], [2]),
        ([[1, 2], [3], None], {"min": 2}, [0, 1]),
        ([True, False, None], True, [0]),
        ([1, "1", True, None, 2**60], "1", [1]),
        ([1, "1", True, None, 2**60], [1, True], [0, 2]),
        ([1, "1", True, None, 2**60], 2**60, [4]),
        ([None, None], "a", []),
    ],
)
def test_by_hand(values: list[Any], wanted: object, rows: list[int]) -> None:
    assert fits(column_of(json_texts(values)), wanted) == rows


@pytest.mark.parametrize(
    ("values", "wanted", "message"),
    [
        (GENRES, 5, "filter.c: expected a text, a list of them, got 5"),
        (GENRES, ["Drama", None], r"filter.c[1]: expected a text"),
        (GENRES, {"min": 1}, "only numbers have ranges"),
        (GENRES, None, "filter.c: expected a text"),
        (YEARS, "1999", 'expected a number, a list of them, or {"min": number, "max": number}, got 1999'),
        (YEARS, True, "expected a number"),
        (YEARS, float("nan"), "expected a number"),
        (YEARS, {}, "expected a range such as"),
        (YEARS, {"min": 1, "least": 2}, "expected a range such as"),
        (YEARS, {"min": None}, "filter.c.min: expected a finite number"),
        (YEARS, {"max": float("inf")}, "filter.c.max: expected a finite number"),
        ([True, 1, "a"], [[1]], "filter.c[0]: expected a text, a number, true or false"),
    ],
)
def test_names_what_is_wrong(values: list[Any], wanted: object, message: str) -> None:
    with pytest.raises(FieldError) as caught:
        fits(column_of(json_texts(values)), wanted)
    assert message in str(caught.value)


def test_refuses_more_values_than_allowed() -> None:
    with pytest.raises(LimitError, match=r"filter\.c: at most 9 values, got 10"):
        fits(column_of(json_texts(YEARS)), [1] * 10)


columns = (
    st.lists(st.none() | st.sampled_from(["a", "b", "été", ""]), min_size=1, max_size=9)
    | st.lists(st.none() | st.sampled_from([0, 1, 2.5, -7]), min_size=1, max_size=9)
    | st.lists(st.none() | st.lists(st.none() | st.sampled_from(["a", "b"]), max_size=3), min_size=1)
    | st.lists(st.lists(st.sampled_from([1, 2, 3]), max_size=3), min_size=1)
    | st.lists(st.none() | st.booleans() | st.sampled_from(["true", 1, 0]), min_size=1)
)
wishes = st.sampled_from(["a", "b", "été", "", "true", 0, 1, 2.5, 3, True, False])


def holds(value: object, wanted: object) -> bool:
    """Tell whether one value of an item is what is wanted, as JSON has it."""
    return value is not None and (value == wanted and isinstance(value, bool) == isinstance(wanted, bool))


def naive(values: list[Any], wanted: Any) -> list[int]:
    rows = []
    for row, value in enumerate(values):
        own = value if isinstance(value, list) else [value]
        if isinstance(wanted, dict):
            least, most = wanted.get("min", -np.inf), wanted.get("max", np.inf)
            fit = any(element is not None and least <= element <= most for element in own)
        else:
            several = wanted if isinstance(wanted, list) else [wanted]
            fit = any(holds(element, one) for element in own for one in several)
        if fit:
            rows.append(row)
    return rows


@examples(300)
@given(
    columns,
    wishes
    | st.lists(wishes, max_size=4)
    | st.fixed_dictionaries({"min": st.sampled_from([0, 1, 2.5])}, optional={"max": st.integers(-1, 3)}),
)
def test_a_filter_is_what_a_plain_reading_gives(values: list[Any], wanted: object) -> None:
    try:
        found = fits(column_of(json_texts(values)), wanted)
    except FieldError:
        return
    assert found == naive(values, wanted)


@examples(200)
@given(st.lists(json_values, min_size=1, max_size=6), json_values)
def test_any_values_and_any_wish_give_rows_or_an_error(values: list[Any], wanted: object) -> None:
    values = json.loads(json.dumps(values).replace("NaN", "1").replace("Infinity", "2").replace("\\ud", "d"))
    try:
        fits(column_of(json_texts(values)), wanted)
    except RequestError:
        return


@pytest.mark.parametrize("values", [GENRES, YEARS, ["a", None, "b", "a", "c"], [1, "1", True, None, 5]])
def test_files_give_the_same_column(tmp_path: Path, values: list[Any]) -> None:
    text = json_texts(values)
    text.save(tmp_path, "columns/c")
    spec = write_filter(tmp_path, "c", "columns/c")
    made, loaded = column_of(text), ItemColumn.load(tmp_path, spec, 5)
    assert all((tmp_path / name).is_file() for name in spec.files())
    assert [loaded.values_of(row) for row in range(5)] == [made.values_of(row) for row in range(5)]
    for wanted in ("a", 1999, ["Drama"], True):
        try:
            assert fits(loaded, wanted) == fits(made, wanted)
        except FieldError:
            with pytest.raises(FieldError):
                fits(made, wanted)
    with pytest.raises(ArtifactError, match="values for 6 items"):
        ItemColumn.load(tmp_path, spec, 6)


def test_refuses_places_beyond_the_distinct_values(tmp_path: Path) -> None:
    json_texts(["a", "b"]).save(tmp_path, "columns/c")
    spec = write_filter(tmp_path, "c", "columns/c")
    np.save(tmp_path / spec.values, np.array([0, 2], np.int32))
    with pytest.raises(ArtifactError, match="places from 0 to 2 of 2 values"):
        ItemColumn.load(tmp_path, spec, 2)


def test_values_of_an_item_are_equal_numbers_for_equal_values() -> None:
    genres = column_of(json_texts(GENRES))
    assert genres.values_of(1) == genres.values_of(2) == []
    assert set(genres.values_of(0)) < set(genres.values_of(3))
    assert column_of(json_texts(YEARS)).values_of(1) == []
    assert column_of(json_texts([-1, None])).values_of(0) == [-1]
