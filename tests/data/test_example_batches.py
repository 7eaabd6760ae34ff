"""Examples with their labels, one by one and in lists of a user."""

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.tiny import tiny_ranking_config, tiny_ranking_tables
from torchtowers.data.dataset import Dataset, prepare
from torchtowers.data.errors import DataError
from torchtowers.data.example_batches import ExampleBatches, ListBatches, labels_of
from torchtowers.data.interactions import Interactions


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    config = tiny_ranking_config()
    return prepare(tiny_ranking_tables(), config.data, config.split, config.features)


def pairs_of(features: dict[str, NDArray[Any]], labels: NDArray[Any]) -> list[tuple[int, int, float]]:
    users, items = features["user_id"].tolist(), features["item_id"].tolist()
    return list(zip(users, items, labels.ravel().tolist(), strict=True))


def test_labels_are_taken_as_they_are_or_from_a_value_on() -> None:
    rated = Interactions(np.zeros(3, np.int64), np.arange(3), np.array([1, 4, 5], np.float32))
    assert labels_of(rated).tolist() == [1, 4, 5]
    assert labels_of(rated, 4).tolist() == [0, 1, 1]
    with pytest.raises(DataError, match=r"name their column, data\.rating"):
        labels_of(Interactions(np.zeros(1, np.int64), np.zeros(1, np.int64)))


def test_an_epoch_holds_every_example_once_with_its_label(dataset: Dataset) -> None:
    batches = ExampleBatches(dataset, 50, seed=1)
    seen: Counter[tuple[int, int, float]] = Counter()
    for batch in batches.epoch(0):
        seen.update(pairs_of(dict(batch.features), np.asarray(batch.labels)))
    train = dataset.train
    expected = Counter(pairs_of(dict(dataset.examples(train)), labels_of(train)))
    assert seen == expected
    assert seen.total() == len(train)


@pytest.mark.parametrize("size", [2, 4, 1000])
def test_a_list_is_of_one_user_and_no_example_is_in_two(dataset: Dataset, size: int) -> None:
    batches = ListBatches(dataset, 64, seed=1, list_size=size)
    seen: Counter[tuple[int, int, float]] = Counter()
    count = 0
    for batch in batches.epoch(3):
        count += 1
        labels, mask = np.asarray(batch.labels), np.asarray(batch.mask)
        assert labels.shape == mask.shape
        assert labels.shape[1] == size
        assert mask[:, :2].all(), "a list of one has no order"
        users = np.asarray(batch.features["user_id"]).reshape(labels.shape)
        assert (users == users[:, :1]).all()
        pairs = pairs_of(dict(batch.features), labels)
        seen.update(pair for pair, is_there in zip(pairs, mask.ravel(), strict=True) if is_there)
    assert count == len(batches)
    counts = np.bincount(dataset.train.users)
    left_out = int((counts % size == 1).sum())
    assert seen.total() == len(dataset.train) - left_out
    assert max(seen.values()) == 1
    assert not seen - Counter(pairs_of(dict(dataset.examples(dataset.train)), labels_of(dataset.train)))


def test_an_epoch_is_the_same_at_each_call_and_can_be_begun_in_its_middle(dataset: Dataset) -> None:
    batches = ListBatches(dataset, 64, seed=1, list_size=4)
    whole, rest = list(batches.epoch(2)), list(batches.epoch(2, first=3))
    assert len(rest) == len(whole) - 3
    for one, other in zip(whole[3:], rest, strict=True):
        for name, array in one.features.items():
            np.testing.assert_array_equal(array, other.features[name])
        np.testing.assert_array_equal(one.labels, other.labels)
    assert not np.array_equal(whole[0].labels, next(batches.epoch(4)).labels)


def test_refuses_users_of_one_example_each(dataset: Dataset) -> None:
    users = dataset.train.users
    first = np.unique(users, return_index=True)[1]
    alone = replace(dataset, train=dataset.train.take(first))
    with pytest.raises(DataError, match="no user has two examples"):
        ListBatches(alone, 64, seed=1, list_size=4)
