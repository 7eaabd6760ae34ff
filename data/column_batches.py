"""Batches of columns in memory: for ranking models, two towers, both, and a model of your own."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from torchtowers.data.batches import Batch, parts_of
from torchtowers.data.ranking_batch import RankingBatch, RatedBatch
from torchtowers.data.shuffled_batches import ShuffledBatches

__all__ = ["ColumnBatches", "PairBatches", "RankingBatches", "RatedBatches"]


class ColumnBatches(ShuffledBatches[dict[str, Any]]):
    """Rows of columns as a dict of columns, for a model of your own.

    Args:
        columns: By name, arrays or tensors `[rows, …]`.
        batch_size: Rows a batch.
        seed: Of the shuffles.
        drop_last: Whether a last incomplete batch is left out where there is a complete one, such as for
            in-batch negatives, which would be fewer.

    Raises:
        ValueError: Columns differ in length, there is no row, or `batch_size` is below 1.

    Example:
        >>> batches = ColumnBatches({"user": torch.arange(5), "rating": torch.ones(5)}, batch_size=2, seed=0)
        >>> [batch["user"].tolist() for batch in batches.epoch(0)]
        [[2, 4], [3, 0], [1]]
    """

    def __init__(
        self, columns: Mapping[str, Any], batch_size: int, seed: int, *, drop_last: bool = False
    ) -> None:
        super().__init__(_length(columns), batch_size, seed, drop_last=drop_last)
        self._columns = dict(columns)

    def take(self, rows: NDArray[np.int64]) -> dict[str, Any]:
        """Give some rows of each column, int64 `[batch]`."""
        return {name: column[rows] for name, column in self._columns.items()}


class RankingBatches(ShuffledBatches[RankingBatch]):
    """Examples with labels, for `build_dlrm`, `build_dcn` and `RankingModel`.

    Args:
        features: By feature, `[rows]` or `[rows, length]` as the encoders give them, or `[rows, width]` for
            dense ones.
        labels: Clicks or ratings, `[rows]`.
        batch_size: Rows a batch; the last one of an epoch may hold fewer.
        seed: Of the shuffles.
        weight: What each example counts, `[rows]`; 1 each if not given.

    Raises:
        ValueError: Columns differ in length, a feature holds no numbers, there is no row, or `batch_size` is
            below 1.

    Example:
        >>> import numpy as np
        >>> batches = RankingBatches({"user": np.array([7, 8, 9])}, [1, 0, 1], batch_size=2, seed=0)
        >>> next(batches.epoch(0)).features
        {'user': array([9, 7])}
    """

    def __init__(
        self,
        features: Mapping[str, ArrayLike],
        labels: ArrayLike,
        batch_size: int,
        seed: int,
        weight: ArrayLike | None = None,
    ) -> None:
        self._features = _arrays(features)
        self._labels = np.asarray(labels, dtype=np.float32)
        self._weight = None if weight is None else np.asarray(weight, dtype=np.float32)
        super().__init__(
            _length({**self._features, "labels": self._labels, "weight": self._weight}), batch_size, seed
        )

    def take(self, rows: NDArray[np.int64]) -> RankingBatch:
        """Make a batch of some examples, int64 `[batch]`."""
        features = {name: column[rows] for name, column in self._features.items()}
        weight = None if self._weight is None else self._weight[rows]
        return RankingBatch(features, self._labels[rows], weight)


class PairBatches(ShuffledBatches[Batch]):
    """Pairs of a user and the item that they chose, for `build_two_tower`.

    `Batches` makes them of a data set. The loss is corrected by each item's part of the pairs.

    Args:
        query: The query tower's inputs, by feature `[pairs]` or `[pairs, length]` as the encoders give them.
        candidate: The candidate tower's inputs, likewise.
        items: Each pair's item as a number from 0 on, `[pairs]`.
        batch_size: Pairs a batch; a last incomplete batch is left out where there is a complete one,
            since its in-batch negatives would be fewer.
        seed: Of the shuffles.
        users: Each pair's user as a number, `[pairs]`; needed where the loss looks for users that are drawn
            twice.

    Raises:
        ValueError: Columns differ in length, a feature holds no numbers, there is no pair, or `batch_size` is
            below 1.

    Example:
        >>> import numpy as np
        >>> items = np.array([0, 1, 1])
        >>> batches = PairBatches({"user": [2, 3, 2]}, {"movie": items + 2}, items, batch_size=2, seed=0)
        >>> next(batches.epoch(0)).probability
        array([0.6666667 , 0.33333334], dtype=float32)
    """

    def __init__(
        self,
        query: Mapping[str, ArrayLike],
        candidate: Mapping[str, ArrayLike],
        items: ArrayLike,
        batch_size: int,
        seed: int,
        *,
        users: ArrayLike | None = None,
    ) -> None:
        self._query, self._candidate = _arrays(query), _arrays(candidate)
        self._items = np.asarray(items, dtype=np.int64)
        self._users = None if users is None else np.asarray(users, dtype=np.int64)
        named = {f"query {name}": column for name, column in self._query.items()}
        named |= {f"candidate {name}": column for name, column in self._candidate.items()}
        pairs = _length({**named, "items": self._items, "users": self._users})
        super().__init__(pairs, batch_size, seed, drop_last=True)
        self._probability = parts_of(self._items)

    def take(self, rows: NDArray[np.int64]) -> Batch:
        """Make a batch of some pairs, int64 `[batch]`."""
        items = self._items[rows]
        return Batch(
            {name: column[rows] for name, column in self._query.items()},
            {name: column[rows] for name, column in self._candidate.items()},
            items,
            self._probability[items],
            None if self._users is None else self._users[rows],
        )


class RatedBatches(ShuffledBatches[RatedBatch]):
    """Pairs of a user and an item with their rating, for `build_multi_task`.

    Args:
        query: As in `PairBatches`, and so are the next two.
        candidate: The candidate tower's inputs.
        items: Each pair's item.
        ratings: `[pairs]`.
        batch_size: As in `PairBatches`, and so are the next two.
        seed: Of the shuffles.
        users: Each pair's user.

    Raises:
        ValueError: Columns differ in length, a feature holds no numbers, there is no pair, or `batch_size` is
            below 1.

    Example:
        >>> import numpy as np
        >>> items = np.array([0, 1, 1])
        >>> query, candidate = {"user": [2, 3, 2]}, {"movie": items + 2}
        >>> batches = RatedBatches(query, candidate, items, ratings=[5, 1, 3], batch_size=2, seed=0)
        >>> next(batches.epoch(0)).ratings
        array([3., 5.], dtype=float32)
    """

    def __init__(
        self,
        query: Mapping[str, ArrayLike],
        candidate: Mapping[str, ArrayLike],
        items: ArrayLike,
        ratings: ArrayLike,
        batch_size: int,
        seed: int,
        *,
        users: ArrayLike | None = None,
    ) -> None:
        self._pairs = PairBatches(query, candidate, items, batch_size, seed, users=users)
        self._ratings = np.asarray(ratings, dtype=np.float32)
        pairs = _length({"items": np.asarray(items), "ratings": self._ratings})
        super().__init__(pairs, batch_size, seed, drop_last=True)

    def take(self, rows: NDArray[np.int64]) -> RatedBatch:
        """Make a batch of some pairs, int64 `[batch]`."""
        return RatedBatch(self._pairs.take(rows), self._ratings[rows])


def _arrays(columns: Mapping[str, ArrayLike]) -> dict[str, NDArray[Any]]:
    arrays = {name: np.asarray(column) for name, column in columns.items()}
    for name, array in arrays.items():
        if array.dtype.kind not in "biuf":
            raise ValueError(
                f"{name} holds {array.dtype}, and a tower takes numbers: encode it with one of "
                "torchtowers.handlers.encoders"
            )
    return arrays


def _length(columns: Mapping[str, Any]) -> int:
    """Give the number of rows that all columns have."""
    lengths = {name: len(column) for name, column in columns.items() if column is not None}
    if not lengths:
        raise ValueError("there is no column to make batches of")
    if len(set(lengths.values())) > 1:
        raise ValueError(
            "columns need the same number of rows, got "
            + ", ".join(f"{name} {length}" for name, length in lengths.items())
        )
    return next(iter(lengths.values()))
