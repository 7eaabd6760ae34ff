import numpy as np
import polars as pl
import pytest

from tests.tiny import USERS, tiny_config, tiny_ranking_config, tiny_ranking_tables, tiny_tables
from torchtowers.data.dataset import Dataset, prepare
from torchtowers.data.errors import DataError
from torchtowers.data.later import with_later
from torchtowers.handlers.encoders import MISSING, UNKNOWN

CONFIG = tiny_config()


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return prepare(tiny_tables(), CONFIG.data, CONFIG.split, CONFIG.features)


def table(**more: list[object]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "user_id": ["u3", "new", "other", "new"],
            "item_id": ["105", "150", "gone", "101"],
            "rating": [4, 5, 3, 1],
            "timestamp": [1_600_000_000] * 4,
            **more,
        }
    )


def test_they_take_the_place_of_the_test_part(dataset: Dataset) -> None:
    later = with_later(dataset, CONFIG.data, CONFIG.features, table())
    tokens = dataset.items.tokens
    assert [tokens[row] for row in later.dataset.test.items] == ["105", "150", "101"]
    assert later.dataset.test.users.tolist() == [dataset.users.tokens.index("u3"), USERS, USERS]
    assert later.dataset.test.labels is not None
    assert later.dataset.test.labels.tolist() == [4, 5, 1]
    assert later.new_users == 1
    assert later.dropped == {"interactions whose item_id is not in its table": 1}
    assert later.dataset.train is dataset.train


def test_new_users_are_unknown_and_have_no_history(dataset: Dataset) -> None:
    later = with_later(dataset, CONFIG.data, CONFIG.features, table(gender=["F", "M", "F", None])).dataset
    features = later.users.take(np.array([0, USERS]))
    before = dataset.users.take(np.array([0]))
    men = dataset.users.take(np.array([dataset.users.tokens.index("u3")]))["gender"]
    assert features["user_id"][1] == UNKNOWN
    assert features["gender"][1] == men[0]
    assert features["age"][1] == MISSING
    assert not features["history"][1].any()
    for name, column in before.items():
        assert (np.trim_zeros(np.atleast_1d(features[name][0]), "b") == np.atleast_1d(column[0])).all(), name
    shown = later.query(later.test)["history"]
    assert shown[0].any()
    assert not shown[1:].any()


def test_without_new_users_nothing_of_the_users_changes(dataset: Dataset) -> None:
    later = with_later(dataset, CONFIG.data, CONFIG.features, table().head(1))
    assert later.dataset.users is dataset.users
    assert (later.new_users, later.dropped) == (0, {})


def test_a_missing_column_and_no_known_item_are_errors(dataset: Dataset) -> None:
    with pytest.raises(DataError, match="there is no column user_id"):
        with_later(dataset, CONFIG.data, CONFIG.features, table().drop("user_id"))
    with pytest.raises(DataError, match="no interaction of a known item is left"):
        with_later(dataset, CONFIG.data, CONFIG.features, table()[2:3])


def test_a_column_of_the_wrong_type_is_refused(dataset: Dataset) -> None:
    with pytest.raises(DataError, match=r"age is of kind buckets, which takes numbers; .* such as old"):
        with_later(dataset, CONFIG.data, CONFIG.features, table(age=["old"] * 4))
    config = tiny_ranking_config()
    ranking = prepare(tiny_ranking_tables(), config.data, config.split, config.features)
    with pytest.raises(DataError, match=r"features\.context: there is no column hour; the interactions"):
        with_later(ranking, config.data, config.features, table())
    with pytest.raises(DataError, match=r"hour is of kind buckets, which takes numbers; .* such as noon"):
        with_later(ranking, config.data, config.features, table(hour=["noon"] * 4))
