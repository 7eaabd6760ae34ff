"""What an example may see of its user's history."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from torchtowers.data.feature_config import HistoryFeature
from torchtowers.data.history import History

FEATURE = HistoryFeature(kind="history", max_length=3)


def history(order: str, feature: HistoryFeature = FEATURE) -> History:
    return History.build(
        feature,
        np.array([0, 1, 0, 0, 0, 1]),
        np.array([4, 5, 6, 7, 8, 4]),
        count=3,
        labels=np.array([5, 1, 2, 3, 4, 5], dtype=np.float32),
        times=np.array([40, 10, 20, 20, 10, 50]),
        order=order,  # type: ignore[arg-type]
    )


def test_items_are_in_the_order_of_time_and_then_of_the_file() -> None:
    built = history("others")
    assert [(built.items[user] - 2).tolist() for user in range(3)] == [[8, 6, 7, 4], [5, 4], []]
    assert [(built.shown[user] - 2).tolist() for user in range(3)] == [[6, 7, 4], [5, 4], []]


def test_others_shows_the_last_ones_without_the_target() -> None:
    shown = history("others").take_examples(np.array([0, 1, 2]), np.array([7, 0, 0]))
    assert shown.tolist() == [[8, 0, 6], [7, 6, 0], [0, 0, 0]]


def test_preceding_shows_what_is_strictly_earlier() -> None:
    users, items = np.array([0, 0, 0, 0, 1]), np.array([8, 6, 7, 4, 4])
    shown = history("preceding").take_examples(users, items, np.array([10, 20, 20, 40, 50]))
    assert [[index - 2 for index in row if index] for row in shown.tolist()] == [
        [],
        [8],
        [8],
        [8, 6, 7],
        [5],
    ]


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        ({"minimum_rating": 4.0}, [[8, 4], [4]]),
        ({"maximum_rating": 2.0}, [[6], [5]]),
        ({"minimum_rating": 2.0, "maximum_rating": 3.0}, [[6, 7], []]),
    ],
)
def test_ratings_outside_of_the_bounds_are_left_out(
    bounds: dict[str, float], expected: list[list[int]]
) -> None:
    feature = FEATURE.model_copy(update=bounds)
    built = history("others", feature)
    assert [(built.items[user] - 2).tolist() for user in range(2)] == expected


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9), st.integers(0, 5)), min_size=1, max_size=40))
def test_no_example_sees_itself_or_what_is_not_earlier(rows: list[tuple[int, int, int]]) -> None:
    users, items, times = (np.array(column) for column in zip(*rows, strict=True))
    built = History.build(
        HistoryFeature(kind="history", max_length=100),
        users,
        items,
        count=4,
        labels=None,
        times=times,
        order="preceding",
    )
    shown = built.take_examples(users, items, times)
    for row, (user, item, time) in enumerate(rows):
        earlier = sorted(
            (when, place, what)
            for place, (who, what, when) in enumerate(rows)
            if who == user and when < time and what != item
        )
        assert [index - 2 for index in shown[row].tolist() if index] == [what for _, _, what in earlier]
