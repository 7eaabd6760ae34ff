from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from torchtowers.data.errors import DataError
from torchtowers.data.ragged import Ragged
from torchtowers.data.sequence_batches import SequenceBatch, SequenceBatches

HISTORIES = Ragged.of([[2, 3, 4, 5, 6], [7], [], [8, 9]])
SIZE = 12


def windows(batches: SequenceBatches, epoch: int = 0) -> list[list[int]]:
    rows = [row for batch in batches.epoch(epoch) for row in batch.items.tolist()]
    return sorted([item for item in row if item] for row in rows)


def test_windows_are_cut_from_the_end_and_each_begins_where_another_ends() -> None:
    for max_length, expected in (
        (2, [[2, 3, 4], [4, 5, 6], [7], [8, 9]]),
        (3, [[2, 3], [3, 4, 5, 6], [7], [8, 9]]),
        (50, [[2, 3, 4, 5, 6], [7], [8, 9]]),
    ):
        assert windows(SequenceBatches(HISTORIES, SIZE, 2, 0, max_length=max_length)) == expected


@given(
    lengths=st.lists(st.integers(0, 30), min_size=1, max_size=8).filter(any),
    max_length=st.integers(1, 12),
    batch_size=st.integers(1, 9),
)
def test_each_item_but_the_first_follows_another_once_an_epoch(
    lengths: list[int], max_length: int, batch_size: int
) -> None:
    values = iter(range(2, 2 + sum(lengths)))
    histories = [[next(values) for _ in range(length)] for length in lengths]
    batches = SequenceBatches(
        Ragged.of(histories), 2 + sum(lengths), batch_size, 0, max_length=max_length, negatives=1
    )
    cut = windows(batches)
    assert max(map(len, cut)) <= max_length + 1
    followers = sorted(item for window in cut for item in window[1:])
    assert followers == sorted(item for history in histories for item in history[1:])
    pairs = {pair for history in histories for pair in pairwise(history)}
    assert {pair for window in cut for pair in pairwise(window)} == pairs
    # Each item is learnt once, and each history's first one too.
    learnt = np.concatenate([batch.items[batch.learnt] for batch in batches.epoch(0)])
    assert sorted(learnt) == sorted(item for history in histories for item in history)
    # A user of one item teaches what to answer to an empty history.
    assert {history[0] for history in histories if len(history) == 1} <= {window[0] for window in cut}


@given(
    lengths=st.lists(st.integers(0, 30), min_size=1, max_size=8).filter(any),
    max_length=st.integers(1, 12),
    data=st.data(),
)
def test_windows_overlap_by_what_the_stride_leaves_and_each_item_is_learnt_once(
    lengths: list[int], max_length: int, data: st.DataObject
) -> None:
    stride = data.draw(st.integers(1, max_length))
    values = iter(range(2, 2 + sum(lengths)))
    histories = [[next(values) for _ in range(length)] for length in lengths]
    batches = SequenceBatches(
        Ragged.of(histories), 2 + sum(lengths), 4, 0, max_length=max_length, stride=stride, negatives=1
    )
    whole = {item: history for history in histories for item in history}
    seen = []
    for batch in batches.epoch(0):
        assert batch.items.shape[1] <= max_length + 1
        for row, learnt, earlier in zip(batch.items, batch.learnt, batch.earlier, strict=True):
            history, begin = whole[row[0]], whole[row[0]].index(row[0])
            assert earlier[earlier > 0].tolist() == history[:begin]
            places = np.flatnonzero(learnt)
            seen += row[places].tolist()
            # An item that is learnt has as many before it as the windows allow.
            assert places[0] + begin == 0 or places[0] >= min(max_length + 1 - stride, begin + places[0])
    assert sorted(seen) == sorted(whole)


def test_without_sampling_the_whole_vocabulary_are_negatives_alike() -> None:
    (batch,) = SequenceBatches(HISTORIES, SIZE, 9, 0, negatives=None).epoch(0)
    assert batch.negatives.tolist() == list(range(2, SIZE))
    np.testing.assert_allclose(batch.negative_probability, 1 / (SIZE - 2))


def test_a_batch_is_padded_at_its_end_and_the_last_one_may_be_smaller() -> None:
    batches = SequenceBatches(HISTORIES, SIZE, 2, 0, max_length=10)
    assert (len(batches), batches.batch_size) == (2, 2)
    sizes = [len(batch.items) for batch in batches.epoch(0)]
    assert sizes == [2, 1]
    for batch in batches.epoch(0):
        present = batch.items > 0
        assert (present[:, :-1] >= present[:, 1:]).all()
        assert present.any(0).all()
        assert (batch.probability > 0).tolist() == present.tolist()


def test_an_epoch_depends_on_seed_and_number_and_goes_on_from_any_batch() -> None:
    histories = Ragged.of([[2 + i, 3 + i] for i in range(9)])

    def make(seed: int) -> SequenceBatches:
        return SequenceBatches(histories, SIZE, 2, seed, negatives=5)

    whole = list(make(0).epoch(3))
    assert same(list(make(0).epoch(3, first=2)), whole[2:])
    assert not same(list(make(0).epoch(4)), whole)
    assert not same(list(make(1).epoch(3)), whole)
    assert windows(make(0), 3) == windows(make(0), 4)


def same(some: list[SequenceBatch], others: list[SequenceBatch]) -> bool:
    return all(
        np.array_equal(getattr(one, name), getattr(other, name))
        for one, other in zip(some, others, strict=True)
        for name in ("items", "probability", "negatives", "negative_probability", "learnt", "earlier")
    )


@pytest.mark.parametrize(
    ("power", "expected"), [(0.0, [0.25] * 4), (0.5, [0.3, 0.4, 0.3, 0]), (1.0, [9 / 34, 16 / 34, 9 / 34, 0])]
)
def test_negatives_are_sampled_by_their_count_to_a_power(power: float, expected: list[float]) -> None:
    histories = Ragged.of([[2] * 9 + [3] * 16 + [4] * 9])
    (batch,) = SequenceBatches(histories, 6, 8, 0, negatives=40_000, power=power).epoch(0)
    counts = np.bincount(batch.negatives, minlength=6)
    assert counts[:2].tolist() == [0, 0]
    np.testing.assert_allclose(counts[2:] / 40_000, expected, atol=0.01)
    np.testing.assert_allclose(batch.negative_probability, np.array(expected)[batch.negatives - 2], rtol=1e-6)
    np.testing.assert_allclose(batch.probability, np.array(expected)[batch.items - 2], rtol=1e-6)


@pytest.mark.parametrize(
    ("histories", "message"),
    [
        ([[], []], "every history is empty"),
        ([[2, 12]], "from 2 to 12, but the items' are from 2 to 11"),
        ([[0, 3]], "from 0 to 3"),
    ],
)
def test_histories_that_cannot_be_used_are_refused(histories: list[list[int]], message: str) -> None:
    with pytest.raises(DataError, match=message):
        SequenceBatches(Ragged.of(histories), SIZE, 2, 0)


def test_numbers_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 1, got 2, 0 and 5"):
        SequenceBatches(HISTORIES, SIZE, 2, 0, max_length=0, negatives=5)
    with pytest.raises(ValueError, match=r"stride must be from 1 to max_length \(50\), got 51"):
        SequenceBatches(HISTORIES, SIZE, 2, 0, stride=51)
    with pytest.raises(ValueError, match="power must not be negative, got -1"):
        SequenceBatches(HISTORIES, SIZE, 2, 0, power=-1)
