from dataclasses import replace

import numpy as np
import pytest

from torchtowers.data.dataset import Dataset
from torchtowers.data.errors import DataError
from torchtowers.data.hidden_item_batches import HiddenItemBatch, HiddenItemBatches
from torchtowers.handlers.encoders import FIRST_TOKEN
from torchtowers.models.experiment import Trained


@pytest.fixture
def dataset(trained: Trained) -> Dataset:
    return trained.dataset


def users_of(batch: HiddenItemBatch) -> list[int]:
    rows: list[int] = (batch.query["user_id"] - FIRST_TOKEN).tolist()
    return rows


def items_of(batch: HiddenItemBatch) -> np.ndarray:
    return batch.candidate["item_id"] - FIRST_TOKEN


def had(dataset: Dataset) -> dict[int, set[int]]:
    found: dict[int, set[int]] = {}
    for user, item in zip(dataset.train.users.tolist(), dataset.train.items.tolist(), strict=True):
        found.setdefault(user, set()).add(item)
    return found


@pytest.mark.parametrize("candidates", [8192, 7])
def test_each_user_comes_once_an_epoch_with_their_items_hidden_or_shown(
    dataset: Dataset, candidates: int
) -> None:
    known, seen = had(dataset), []
    for batch in HiddenItemBatches(dataset, 6, seed=0, lowest=0.2, highest=0.5, candidates=candidates).epoch(
        3
    ):
        items = items_of(batch)
        assert len(items) == len(set(items.tolist())) == len(batch.probability)
        for row, user in enumerate(users_of(batch)):
            seen.append(user)
            hidden = set(items[batch.targets[1][batch.targets[0] == row]].tolist())
            shown = set(items[batch.shown[1][batch.shown[0] == row]].tolist())
            assert hidden
            assert not hidden & shown
            assert hidden <= known[user]
            assert shown == (known[user] - hidden) & set(items.tolist())
            history = batch.query["history"][row]
            assert not set((history[history > 0] - FIRST_TOKEN).tolist()) & hidden
    assert sorted(seen) == sorted(known)


def test_of_a_small_catalogue_all_items_compete(dataset: Dataset) -> None:
    batch = next(HiddenItemBatches(dataset, 6, seed=0, candidates=len(dataset.items)).epoch(0))
    assert items_of(batch).tolist() == list(range(len(dataset.items)))
    assert batch.probability.tolist() == [1.0] * len(dataset.items)


def test_of_a_larger_one_the_hidden_items_and_a_sample_of_the_others_do(dataset: Dataset) -> None:
    drawn = np.zeros(len(dataset.items))
    expected = np.zeros(len(dataset.items))
    for batch in (
        batch
        for epoch in range(200)
        for batch in HiddenItemBatches(dataset, 2, 0, lowest=0, highest=0, candidates=5).epoch(epoch)
    ):
        items = items_of(batch)
        wanted = np.unique(batch.targets[1])
        assert (batch.probability[wanted] == 1).all()
        others = np.delete(np.arange(len(items)), wanted)
        rate = 5 / (len(dataset.items) - len(wanted))
        np.testing.assert_allclose(batch.probability[others], rate, rtol=1e-6)
        assert len(others) == 5
        drawn[items[others]] += 1
        rates = np.full(len(expected), rate)
        rates[items[wanted]] = 0
        expected += rates
    np.testing.assert_allclose(drawn, expected, rtol=0.25)


def test_the_part_that_is_hidden_is_within_its_bounds(dataset: Dataset) -> None:
    for lowest, highest, check in ((1.0, 1.0, 1.0), (0.0, 0.0, None)):
        batch = next(HiddenItemBatches(dataset, 40, 0, lowest=lowest, highest=highest).epoch(0))
        hidden = np.bincount(batch.targets[0])
        if check is None:
            assert (hidden == 1).all()
        else:
            assert batch.shown.shape == (2, 0)
            assert (batch.query["history"] == 0).all()


def test_an_epoch_goes_on_from_any_batch(dataset: Dataset) -> None:
    def targets(epoch: int, first: int = 0) -> list[bytes]:
        return [batch.targets.tobytes() for batch in HiddenItemBatches(dataset, 6, 1).epoch(epoch, first)]

    assert targets(2, 3) == targets(2)[3:]
    assert targets(2) != targets(3)


def test_what_can_not_be_is_refused(dataset: Dataset) -> None:
    with pytest.raises(ValueError, match=r"got 0\.6 and 0\.5"):
        HiddenItemBatches(dataset, 6, 0, lowest=0.6)
    with pytest.raises(ValueError, match="at least 1, got 0"):
        HiddenItemBatches(dataset, 6, 0, candidates=0)
    empty = replace(dataset, train=dataset.train.take(np.empty(0, dtype=np.int64)))
    with pytest.raises(DataError, match="no training interaction"):
        HiddenItemBatches(empty, 6, 0)
