"""A data set's training examples in batches with their labels."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from torchtowers.data.batches import Batches
from torchtowers.data.dataset import Dataset
from torchtowers.data.errors import DataError
from torchtowers.data.interactions import Interactions
from torchtowers.data.ranking_batch import RankingBatch, RatedBatch
from torchtowers.data.shuffled_batches import ShuffledBatches

__all__ = ["ExampleBatches", "ListBatches", "RatedPairs", "labels_of"]


def labels_of(interactions: Interactions, positive_from: float | None = None) -> NDArray[np.float32]:
    """Give what a ranking model learns, float32 `[batch]`.

    Args:
        interactions: With labels.
        positive_from: Labels from this on count as 1, others as 0; None takes them as they are.

    Raises:
        DataError: There are no labels.
    """
    if interactions.labels is None:
        raise DataError("a ranking model learns labels: name their column, data.rating")
    if positive_from is None:
        return interactions.labels
    return (interactions.labels >= positive_from).astype(np.float32)


class ExampleBatches(ShuffledBatches[RankingBatch]):
    """The training examples of a data set with all their features.

    Args:
        dataset: With labels.
        batch_size: Examples a batch; the last one of an epoch may hold fewer.
        seed: Of the shuffles.
        positive_from: As in `labels_of`.

    Raises:
        DataError: There are no labels.
        ValueError: There is no example, or `batch_size` is below 1.
    """

    def __init__(
        self, dataset: Dataset, batch_size: int, seed: int, positive_from: float | None = None
    ) -> None:
        super().__init__(len(dataset.train), batch_size, seed)
        self._dataset = dataset
        self._labels = labels_of(dataset.train, positive_from)

    def take(self, rows: NDArray[np.int64]) -> RankingBatch:
        """Make a batch of some examples, int64 `[batch]`."""
        return RankingBatch(self._dataset.examples(self._dataset.train.take(rows)), self._labels[rows])


class ListBatches:
    """The training examples of a data set in lists of one user each, for losses over lists.

    Each epoch shuffles every user's examples by the seed and the epoch's number and cuts them into lists. A
    user's last list may be shorter, the rest of it is masked; lists of one example are left out, since they
    have no order.

    Args:
        dataset: With labels.
        batch_size: Examples a batch, in whole lists.
        seed: Of the shuffles.
        list_size: Examples a list.
        positive_from: As in `labels_of`.

    Raises:
        DataError: There are no labels, or no user has two examples.
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int,
        seed: int,
        *,
        list_size: int,
        positive_from: float | None = None,
    ) -> None:
        self._dataset = dataset
        self._labels = labels_of(dataset.train, positive_from)
        self._seed = seed
        self._length = list_size
        counts = np.bincount(dataset.train.users)
        self._firsts = np.cumsum(counts) - counts
        # Of a user with one example more than whole lists, the last one would be alone.
        lists = counts // list_size + (counts % list_size > 1)
        self._lists_of = lists
        self._count = int(lists.sum())
        if not self._count:
            raise DataError("no user has two examples: a list of one has no order to learn")
        self._at_once = min(max(1, batch_size // list_size), self._count)

    def __len__(self) -> int:
        """Batches an epoch."""
        return -(-self._count // self._at_once)

    @property
    def batch_size(self) -> int:
        """Examples a batch at most."""
        return self._at_once * self._length

    def epoch(self, number: int, first: int = 0) -> Iterator[RankingBatch]:
        """Give an epoch's batches, from batch `first` on."""
        generator = np.random.default_rng([self._seed, number])
        users = self._dataset.train.users
        shuffled = generator.permutation(len(users))
        order = shuffled[np.argsort(users[shuffled], kind="stable")]
        owner = np.repeat(np.arange(len(self._lists_of)), self._lists_of)
        number_of = np.arange(self._count) - np.repeat(
            np.cumsum(self._lists_of) - self._lists_of, self._lists_of
        )
        begins = self._firsts[owner] + number_of * self._length
        ends = np.minimum(begins + self._length, np.append(self._firsts, len(users))[owner + 1])
        lists = generator.permutation(self._count)
        for step in range(first, len(self)):
            chosen = lists[step * self._at_once : (step + 1) * self._at_once]
            yield self._batch(order, begins[chosen], ends[chosen])

    def _batch(
        self, order: NDArray[np.int64], begins: NDArray[np.int64], ends: NDArray[np.int64]
    ) -> RankingBatch:
        places = begins[:, None] + np.arange(self._length)
        mask = places < ends[:, None]
        rows = order[np.where(mask, places, begins[:, None])]
        features = self._dataset.examples(self._dataset.train.take(rows.ravel()))
        return RankingBatch(features, self._labels[rows], mask=mask)


class RatedPairs(ShuffledBatches[RatedBatch]):
    """The training pairs of a data set with their ratings, for `build_multi_task`.

    Args:
        dataset: With labels.
        batch_size: As in `Batches`.
        seed: Of the shuffles.

    Raises:
        DataError: There are no labels.
        ValueError: There is no pair, or `batch_size` is below 1.
    """

    def __init__(self, dataset: Dataset, batch_size: int, seed: int) -> None:
        super().__init__(len(dataset.train), batch_size, seed, drop_last=True)
        self._pairs = Batches(dataset, batch_size, seed)
        self._labels = labels_of(dataset.train)

    def take(self, rows: NDArray[np.int64]) -> RatedBatch:
        """Make a batch of some pairs, int64 `[batch]`."""
        return RatedBatch(self._pairs.take(rows), self._labels[rows])
