import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from torchtowers.data.config import SplitConfig
from torchtowers.data.errors import DataError
from torchtowers.data.splits import (
    Split,
    part_numbers,
    split_by_part,
    split_by_time,
    split_leave_last_out,
    split_per_user,
    split_random,
)


@given(st.integers(20, 500), st.floats(0.1, 0.8), st.floats(0.0, 0.5), st.integers(0, 99))
def test_every_row_is_in_exactly_one_part(rows: int, test: float, validation: float, seed: int) -> None:
    config = SplitConfig(
        test_fraction=test, validation_fraction=validation if validation > 0.1 else 0.0, seed=seed
    )
    split = split_random(rows, config)
    together = np.concatenate([split.train, split.validation, split.test])
    assert sorted(together.tolist()) == list(range(rows))
    assert len(split.test) == round(rows * test)


def test_the_split_is_the_one_that_the_documents_state() -> None:
    order = np.random.default_rng(42).permutation(100_000)
    split = split_random(100_000, SplitConfig(test_fraction=0.2, seed=42))
    assert (split.train == order[:80_000]).all()
    assert (split.test == order[80_000:]).all()


def test_a_validation_part_leaves_the_test_rows_as_they_are() -> None:
    whole = split_random(1000, SplitConfig())
    tuned = split_random(1000, SplitConfig(validation_fraction=0.1))
    assert (whole.test == tuned.test).all()
    assert len(tuned.validation) == 80
    assert not set(tuned.validation.tolist()) & set(tuned.test.tolist())


@pytest.mark.parametrize(
    ("rows", "test", "validation"), [(1, 0.2, 0.0), (10, 0.01, 0.0), (10, 0.2, 0.01), (0, 0.5, 0.0)]
)
def test_an_empty_part_is_refused(rows: int, test: float, validation: float) -> None:
    with pytest.raises(
        DataError, match=r"split: \d+ interactions give .* change split\.kind, split\.test_fraction"
    ):
        split_random(rows, SplitConfig(test_fraction=test, validation_fraction=validation))


def parts(split: Split) -> list[list[int]]:
    return [sorted(part.tolist()) for part in (split.train, split.validation, split.test)]


def test_per_user_divides_each_users_rows() -> None:
    users = np.repeat(np.arange(5), 10)
    split = split_per_user(users, SplitConfig(kind="per_user", test_fraction=0.1, validation_fraction=1 / 9))
    assert sorted(np.concatenate(parts(split)).tolist()) == list(range(50))
    for part, each in (("train", 8), ("validation", 1), ("test", 1)):
        assert np.bincount(users[getattr(split, part)]).tolist() == [each] * 5


def test_per_user_depends_on_the_seed_only() -> None:
    users = np.random.default_rng(0).integers(0, 9, 200)
    first, again, other = (
        split_per_user(users, SplitConfig(kind="per_user", seed=seed)) for seed in (1, 1, 2)
    )
    assert parts(first) == parts(again) != parts(other)


def test_the_last_of_each_user_tests_and_the_one_before_validates() -> None:
    users = np.array([0, 1, 0, 0, 1, 2, 3, 3, 3])
    times = np.array([30, 5, 10, 20, 5, 9, 1, 2, 2])
    config = SplitConfig(kind="leave_last_out", validation_fraction=0.5)
    # User 2 has one row, which trains; user 1's two rows are of one time, and the later one tests.
    assert parts(split_leave_last_out(users, times, config)) == [[1, 2, 5, 6], [3, 7], [0, 4, 8]]
    without = SplitConfig(kind="leave_last_out")
    assert parts(split_leave_last_out(users, times, without)) == [[1, 2, 3, 5, 6, 7], [], [0, 4, 8]]


def test_no_user_with_two_rows_is_an_error() -> None:
    with pytest.raises(DataError, match=r"0 for test; change split\.kind"):
        split_leave_last_out(np.arange(3), np.arange(3), SplitConfig(kind="leave_last_out"))


def test_the_latest_rows_test() -> None:
    config = SplitConfig(kind="time", test_fraction=0.25, validation_fraction=1 / 3)
    assert parts(split_by_time(np.array([7, 1, 2, 9]), config)) == [[1, 2], [0], [3]]


def test_the_latest_rows_test_where_many_are_of_one_time(monkeypatch: pytest.MonkeyPatch) -> None:
    times = np.random.default_rng(0).integers(0, 4, 50)
    order = np.argsort(times, kind="stable")
    config = SplitConfig(kind="time", test_fraction=0.2, validation_fraction=0.25)
    expected = [sorted(part.tolist()) for part in (order[:30], order[30:40], order[40:])]
    assert parts(split_by_time(times, config)) == expected
    monkeypatch.setattr("torchtowers.data.mapped.ROWS_AT_ONCE", 7)
    assert parts(split_by_time(times, config)) == expected


def test_a_time_from_which_rows_test() -> None:
    day = 86_400
    times = np.array([0, day, 2 * day, 3 * day - 1, 3 * day])
    config = SplitConfig(kind="time", test_from="1970-01-04", validation_from="1970-01-02")
    assert parts(split_by_time(times, config)) == [[0], [1, 2, 3], [4]]
    config = SplitConfig(kind="time", test_from="1970-01-03T01:00:00+01:00")
    assert parts(split_by_time(times, config)) == [[0, 1], [], [2, 3, 4]]
    config = SplitConfig(kind="time", test_from="1970-01-03", validation_from="1970-01-04")
    with pytest.raises(
        DataError, match=r"split\.validation_from: got 1970-01-04, after test_from, 1970-01-03"
    ):
        split_by_time(times, config)


@pytest.mark.parametrize("kind", ["per_user", "leave_last_out"])
def test_a_split_is_the_same_in_any_number_of_parts(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    users, times = generator.integers(0, 9, 100), generator.integers(0, 9, 100)
    config = SplitConfig.model_validate({"kind": kind, "validation_fraction": 0.2})

    def split() -> list[list[int]]:
        found = (
            split_per_user(users, config)
            if kind == "per_user"
            else split_leave_last_out(users, times, config)
        )
        return [part.tolist() for part in (found.train, found.validation, found.test)]

    whole = split()
    monkeypatch.setattr("torchtowers.data.mapped.ROWS_AT_ONCE", 7)
    monkeypatch.setattr("torchtowers.data.grouping.ROWS_AT_ONCE", 7)
    assert split() == whole


def test_the_data_says_which_part() -> None:
    labels = pl.Series(["test", "train", "validation", "train"])
    assert parts(split_by_part(part_numbers(labels, "split.column part"), "split.column")) == [
        [1, 3],
        [2],
        [0],
    ]
    with pytest.raises(DataError, match=r"split\.column part: got nothing; allowed: train, validation, test"):
        part_numbers(pl.Series(["test", None]), "split.column part")
    with pytest.raises(DataError, match=r"split\.column: no interaction is left in the part test"):
        split_by_part(np.zeros(3, dtype=np.uint8), "split.column")
