import pytest
from hypothesis import given
from hypothesis import strategies as st

from torchtowers.handlers.lengths import groups_by_length


@given(st.lists(st.integers(0, 2000), min_size=1, max_size=40))
def test_every_row_is_in_one_group_and_no_group_costs_more_than_it_saves(lengths: list[int]) -> None:
    groups = groups_by_length(lengths)
    assert sorted(place for group in groups for place in group) == list(range(len(lengths)))
    padded = sum(len(group) * max(lengths[place] for place in group) for group in groups)
    assert padded + 2000 * (len(groups) - 1) <= len(lengths) * max(lengths)


@pytest.mark.parametrize(
    ("lengths", "groups"),
    [
        ([3, 1, 2], [[0, 1, 2]]),
        ([5], [[0]]),
        ([10] * 31 + [1000], [[31], list(range(31))]),
        ([0, 1000, 0, 1000], [[0, 1, 2, 3]]),
        ([0, 2000, 0, 2000], [[1, 3], [0, 2]]),
    ],
)
def test_long_lists_are_apart_where_that_pays(lengths: list[int], groups: list[list[int]]) -> None:
    assert groups_by_length(lengths) == groups
