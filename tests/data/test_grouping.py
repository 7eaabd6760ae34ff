"""Rows in the order of their users: equal to sorting them at once."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from torchtowers.data.grouping import blocks, group, group_in_time, places
from torchtowers.data.permutation import Permutation

USERS = st.lists(st.integers(0, 5), max_size=40).map(lambda users: np.array(users, dtype=np.int64))


@given(USERS, st.integers(1, 9))
def test_grouping_is_a_stable_sort(users: np.ndarray, at_once: int) -> None:
    times = (users * 7 + np.arange(len(users)) * 5) % 4
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("torchtowers.data.mapped.ROWS_AT_ONCE", at_once)
        patch.setattr("torchtowers.data.grouping.ROWS_AT_ONCE", at_once)
        assert group(users, 6).tolist() == np.argsort(users, kind="stable").tolist()
        assert group_in_time(users, 6, times).tolist() == np.lexsort((times, users)).tolist()
        assert group_in_time(users, 6, None).tolist() == group(users, 6).tolist()
        if len(users):
            order = Permutation(len(users), 1)
            shuffled = order.between(0, len(users))
            expected = shuffled[np.argsort(users[shuffled], kind="stable")]
            assert group(users, 6, order).tolist() == expected.tolist()
        counts = np.bincount(users, minlength=6)
        ends = np.cumsum(counts).tolist()
        found = list(blocks(counts))
        assert [first for first, _ in found] == [0, *(last for _, last in found)][: len(found)]
        assert all(
            last in ends and (last - first <= at_once or last - first in counts) for first, last in found
        )
        assert sum(last - first for first, last in found) == len(users)


def test_places_among_the_rows_of_a_user() -> None:
    place, count = places(np.array([1, 1, 3]), 2, np.array([2, 2, 0, 1]))
    assert place.tolist() == [0, 1, 0]
    assert count.tolist() == [2, 2, 1]
