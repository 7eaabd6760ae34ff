from dataclasses import replace

import numpy as np
import pytest

from tests.tiny import tiny_config, tiny_tables
from torchtowers.data.dataset import Dataset, prepare
from torchtowers.data.errors import DataError
from torchtowers.data.interactions import Interactions
from torchtowers.models.ranking_baselines import ranking_baselines


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    """Labels that are the sum of what the user and the item give."""
    config = tiny_config()
    dataset = prepare(tiny_tables(), config.data, config.split, config.features)
    generator = np.random.default_rng(0)
    users, items = generator.normal(size=len(dataset.users)), generator.normal(size=len(dataset.items))

    def labelled(part: Interactions) -> Interactions:
        return replace(part, labels=(3 + users[part.users] + items[part.items]).astype(np.float32))

    return replace(dataset, train=labelled(dataset.train), test=labelled(dataset.test))


def test_biases_find_what_the_mean_does_not(dataset: Dataset) -> None:
    figures = ranking_baselines(dataset, scale="rating", ranking_at=(3,))
    labels = dataset.test.labels
    assert labels is not None
    assert dataset.train.labels is not None
    off = labels - dataset.train.labels.mean()
    assert figures["mean"]["rmse"] == pytest.approx(np.sqrt((off**2).mean()), rel=1e-5)
    assert figures["bias"]["rmse"] < 0.5 * figures["mean"]["rmse"]
    assert figures["bias"].keys() == figures["mean"].keys()


def test_clicks(dataset: Dataset) -> None:
    figures = ranking_baselines(dataset, scale="probability", positive_from=3.0)
    assert figures["mean"]["auc"] == 0.5
    assert figures["bias"]["auc"] > 0.8
    assert figures["bias"]["normalized_entropy"] < 1


def test_users_that_training_does_not_know(dataset: Dataset) -> None:
    test = dataset.test.take(np.arange(2))
    later = replace(dataset, test=replace(test, users=test.users + len(dataset.users)))
    assert ranking_baselines(later, scale="rating")["bias"]["rmse"] > 0


def test_without_labels_there_is_none(dataset: Dataset) -> None:
    with pytest.raises(DataError, match="name their column"):
        ranking_baselines(replace(dataset, train=replace(dataset.train, labels=None)), scale="rating")
