"""Which rows come in which batch."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from torchtowers.data.shuffled_batches import ShuffledBatches


class Rows(ShuffledBatches[list[int]]):
    def take(self, rows: NDArray[np.int64]) -> list[int]:
        return [int(row) for row in rows]


@given(
    rows=st.integers(1, 40),
    batch_size=st.integers(1, 50),
    seed=st.integers(0, 2**63 - 1),
    drop_last=st.booleans(),
    first=st.integers(0, 5),
)
def test_an_epoch_gives_each_row_once_and_goes_on_from_any_batch(
    rows: int, batch_size: int, seed: int, drop_last: bool, first: int
) -> None:
    source = Rows(rows, batch_size, seed, drop_last=drop_last)
    batches = list(source.epoch(3))
    assert len(batches) == len(source) >= 1
    assert source.batch_size == min(batch_size, rows)
    assert all(len(batch) == source.batch_size for batch in batches[:-1])
    given = [row for batch in batches for row in batch]
    assert len(set(given)) == len(given)
    assert len(given) == (len(source) * source.batch_size if drop_last else rows)
    assert list(source.epoch(3, first)) == batches[first:]


def test_the_order_is_the_seeds_and_the_epochs() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        (rows,) = Rows(50, 50, seed).epoch(epoch)
        return rows

    orders = [order(seed, epoch) for seed in (1, 2) for epoch in (0, 1)]
    assert orders == [order(seed, epoch) for seed in (1, 2) for epoch in (0, 1)]
    assert len({tuple(rows) for rows in orders}) == 4


@pytest.mark.parametrize(
    ("rows", "batch_size", "said"),
    [(0, 2, "there is no row"), (2, 0, "batch_size has to be at least 1, got 0")],
)
def test_what_can_not_be_divided_is_refused(rows: int, batch_size: int, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Rows(rows, batch_size, 0)
