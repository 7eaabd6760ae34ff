import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from torchtowers.data.ragged import Ragged

LISTS = st.lists(st.lists(st.integers(1, 99), max_size=6), min_size=1, max_size=8)


@given(LISTS, st.data())
def test_rows_come_back_padded_with_zeros(lists: list[list[int]], data: st.DataObject) -> None:
    ragged = Ragged.of(lists)
    rows = data.draw(st.lists(st.integers(0, len(lists) - 1), min_size=1))
    taken = ragged.take(np.array(rows))
    width = max(1, max(len(lists[row]) for row in rows))
    assert taken.tolist() == [lists[row] + [0] * (width - len(lists[row])) for row in rows]


@given(LISTS, st.integers(1, 7))
def test_last_keeps_the_end_of_each_list(lists: list[list[int]], length: int) -> None:
    last = Ragged.of(lists).last(length)
    assert [last[row].tolist() for row in range(len(last))] == [values[-length:] for values in lists]
