"""What is found of data that gives away what it should not."""

import numpy as np
import pytest

from torchtowers.data.feature_config import HistoryFeature
from torchtowers.data.history import History
from torchtowers.data.interactions import Interactions
from torchtowers.data.leakage import leakage_of

NONE = Interactions(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64))


def pairs(users: list[int], items: list[int], times: list[int] | None = None) -> Interactions:
    return Interactions(np.array(users), np.array(items), None, None if times is None else np.array(times))


def test_clean_data_has_no_finding() -> None:
    train, test = pairs([0, 1], [0, 1], [1, 2]), pairs([0, 1], [1, 0], [3, 4])
    assert list(leakage_of(train, NONE, test, "files", {})) == []


def test_pairs_that_are_known() -> None:
    found = list(
        leakage_of(pairs([0, 1], [3, 4]), pairs([1], [4]), pairs([1, 1, 0], [3, 4, 3]), "random", {})
    )
    assert [text.partition(" interactions")[0] for text in found] == ["1 of 1 validation", "2 of 3 test"]


def test_test_rows_that_are_earlier_than_training() -> None:
    train, test = pairs([0, 1], [0, 1], [10, 10]), pairs([0, 1, 2], [1, 0, 0], [9, 10, 1])
    (found,) = leakage_of(train, NONE, test, "column", {})
    assert found.startswith("1 of 3 test interactions are earlier")
    assert list(leakage_of(train, NONE, test, "random", {})) == []


@pytest.mark.parametrize(("order", "count"), [("others", 1), ("preceding", 0)])
def test_a_history_that_looks_ahead(order: str, count: int) -> None:
    train = pairs([0], [0], [1])
    feature = HistoryFeature(kind="history")
    history = History.build(
        feature,
        train.users,
        train.items,
        count=1,
        labels=None,
        times=train.times,
        order=order,  # type: ignore[arg-type]
    )
    found = list(leakage_of(train, NONE, pairs([0], [1], [2]), "time", {"seen": history}))
    assert len(found) == count
    assert all(text.startswith("features: seen shows an example all others") for text in found)


def test_columns_that_hold_the_label() -> None:
    generator = np.random.default_rng(0)
    labels = generator.integers(1, 6, 2000).astype(np.float32)
    context = {
        "stars": labels.astype(np.int64) + 2,
        "scaled": labels * 0.2 + generator.normal(0, 1e-3, 2000).astype(np.float32),
        "hour": generator.integers(0, 24, 2000),
        "noise": generator.normal(0, 1, 2000).astype(np.float32),
        "row": np.arange(2000),
    }
    every = np.arange(2000)
    train = Interactions(every, every, labels, None, context)
    found = list(leakage_of(train, NONE, pairs([0], [1]), "random", {}))
    assert [text.partition(" tells")[0] for text in found] == [
        "features.context.stars",
        "features.context.scaled",
    ]
