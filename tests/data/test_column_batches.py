"""Columns in batches: rows stay together, each kind of batch has what its model takes."""

import numpy as np
import pytest
import torch

from torchtowers.data.column_batches import ColumnBatches, PairBatches, RankingBatches, RatedBatches

ROWS = np.arange(7)
HISTORY = np.stack([ROWS, ROWS + 10], axis=1)


def test_columns_are_given_as_they_are_and_their_rows_stay_together() -> None:
    columns = {"array": ROWS, "history": HISTORY, "tensor": torch.arange(7.0)}
    batches = list(ColumnBatches(columns, 3, seed=1).epoch(0))
    assert [len(batch["array"]) for batch in batches] == [3, 3, 1]
    for batch in batches:
        assert isinstance(batch["array"], np.ndarray)
        assert isinstance(batch["tensor"], torch.Tensor)
        assert batch["history"][:, 1].tolist() == [row + 10 for row in batch["array"].tolist()]
        assert batch["tensor"].tolist() == batch["array"].tolist()
    seen = sorted(row for batch in batches for row in batch["array"].tolist())
    assert seen == ROWS.tolist()
    assert len(ColumnBatches(columns, 3, seed=1, drop_last=True)) == 2


def test_examples_have_labels_and_weights() -> None:
    features = {"user": ROWS, "history": HISTORY, "dense": np.random.default_rng(0).random((7, 2))}
    source = RankingBatches(features, ROWS * 2, 4, seed=0, weight=ROWS * 3)
    batches = list(source.epoch(0))
    assert [len(batch.labels) for batch in batches] == [4, 3]
    for batch in batches:
        assert batch.features["user"].dtype == np.int64
        assert batch.features["dense"].shape == (len(batch.labels), 2)
        assert batch.weight is not None
        assert batch.labels.dtype == batch.weight.dtype == np.dtype(np.float32)
        assert batch.labels.tolist() == (2 * batch.features["user"]).tolist()
        assert batch.weight.tolist() == (3 * batch.features["history"][:, 0]).tolist()
    (plain,) = RankingBatches(features, ROWS, 99, seed=0).epoch(0)
    assert plain.weight is None


def test_pairs_come_with_their_items_part_of_all_pairs() -> None:
    items = np.array([0, 2, 2, 0, 2, 1, 2])
    query, candidate = {"user": ROWS + 2}, {"item": items + 2}
    pairs = list(PairBatches(query, candidate, items, 3, seed=0, users=ROWS).epoch(0))
    rated = list(RatedBatches(query, candidate, items, ROWS / 2, 3, seed=0, users=ROWS).epoch(0))
    # A batch of one has no negatives.
    assert len(pairs) == len(rated) == 2
    for batch, also in zip(pairs, rated, strict=True):
        assert batch.users is not None
        assert batch.probability is not None
        assert also.pairs.users is not None
        assert batch.query["user"].tolist() == (batch.users + 2).tolist()
        assert batch.items.tolist() == items[batch.users].tolist()
        assert batch.candidate["item"].tolist() == (batch.items + 2).tolist()
        expected = np.array([2 / 7, 1 / 7, 4 / 7], dtype=np.float32)[batch.items]
        assert batch.probability.tolist() == expected.tolist()
        assert also.pairs.users.tolist() == batch.users.tolist()
        assert also.ratings.tolist() == (batch.users / 2).tolist()
    (plain,) = PairBatches(query, candidate, items, 99, seed=0).epoch(0)
    assert plain.users is None


def test_columns_of_different_lengths_are_named() -> None:
    with pytest.raises(ValueError, match="same number of rows, got user 7, rating 6"):
        ColumnBatches({"user": ROWS, "rating": ROWS[1:]}, 2, seed=0)
    with pytest.raises(ValueError, match="got user 7, labels 7, weight 6"):
        RankingBatches({"user": ROWS}, ROWS, 2, 0, ROWS[1:])
    with pytest.raises(ValueError, match="got query id 7, candidate id 6, items 7"):
        PairBatches({"id": ROWS}, {"id": ROWS[1:]}, ROWS, 2, 0)
    with pytest.raises(ValueError, match="got items 7, ratings 6"):
        RatedBatches({"id": ROWS}, {"id": ROWS}, ROWS, ROWS[1:], 2, 0)
    with pytest.raises(ValueError, match="there is no column"):
        ColumnBatches({}, 2, seed=0)


@pytest.mark.parametrize("column", [["ann", "ben"], [[1], [1, 2]]])
def test_what_is_not_encoded_yet_is_refused(column: list[object]) -> None:
    array = np.array(column, dtype=object) if isinstance(column[0], list) else np.array(column)
    with pytest.raises(
        ValueError, match=r"user holds .*: encode it with one of torchtowers\.handlers\.encoders"
    ):
        RankingBatches({"user": array}, [0, 1], 2, 0)
