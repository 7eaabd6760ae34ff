"""Users in batches; some of their items are hidden from the history, to be found in the catalogue."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchtowers.data.dataset import Dataset
from torchtowers.data.errors import DataError
from torchtowers.data.shuffled_batches import ShuffledBatches
from torchtowers.handlers.encoders import FIRST_TOKEN, MISSING

__all__ = ["HiddenItemBatch", "HiddenItemBatches"]


@dataclass(frozen=True)
class HiddenItemBatch:
    """Users without the items that are to be found, and the items to find them among.

    Args:
        query: The query tower's inputs, by tensor `[batch]` or `[batch, length]`; their histories show what
            is not hidden.
        candidate: The candidate tower's inputs, by tensor `[candidates]` or `[candidates, length]`.
        probability: How likely each candidate is to be one, float32 `[candidates]`.
        targets: The hidden items: the row of the batch and that of the candidates, int64 `[2, hidden]`.
        shown: Likewise the candidates that are not hidden: they compete with none of their user's items.
    """

    query: dict[str, NDArray[Any]]
    candidate: dict[str, NDArray[Any]]
    probability: NDArray[np.float32]
    targets: NDArray[np.int64]
    shown: NDArray[np.int64]


class HiddenItemBatches(ShuffledBatches[HiddenItemBatch]):
    """Every user once an epoch, each time with other items hidden.

    The candidates are the whole catalogue, or, where it is larger than `candidates`, the batch's hidden items
    and a sample of all others. A user of one item has an empty history, which so gets an answer.

    Args:
        dataset: Encoded users, items and training pairs.
        batch_size: Users a batch.
        seed: Of the shuffles, of what is hidden and of the samples.
        lowest: The smallest part of a user's items that is hidden; the part is drawn anew for each user and
            epoch, and is one item at least.
        highest: The largest part.
        candidates: Up to so many items compete all at once; of a larger catalogue so many are sampled.

    Raises:
        DataError: There is no training pair.
        ValueError: A number is out of range.
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int,
        seed: int,
        *,
        lowest: float = 0.05,
        highest: float = 0.5,
        candidates: int = 8192,
    ) -> None:
        if not 0 <= lowest <= highest <= 1:
            raise ValueError(f"0 <= lowest <= highest <= 1 has to hold, got {lowest} and {highest}")
        if candidates < 1:
            raise ValueError(f"candidates has to be at least 1, got {candidates}")
        if not len(dataset.train):
            raise DataError("there is no training interaction to hide")
        self._dataset = dataset
        self._range = lowest, highest
        self._candidates = candidates
        count = len(dataset.items)
        cells = np.unique(dataset.train.users * count + dataset.train.items)
        self._items = cells % count
        self._users, self._firsts, self._lengths = np.unique(
            cells // count, return_index=True, return_counts=True
        )
        everything = np.arange(count)
        self._catalogue = dataset.items.take(everything) if count <= candidates else None
        super().__init__(len(self._users), batch_size, seed)

    def epoch(self, number: int, first: int = 0) -> Iterator[HiddenItemBatch]:
        """Give an epoch's batches, from batch `first` on."""
        for step, rows in self.steps(number, first):
            # Of a step's own generator, so that an epoch goes on from any step as it would have.
            yield self._batch(rows, np.random.default_rng([self._seed, number, step]))

    def _batch(self, rows: NDArray[np.int64], generator: np.random.Generator) -> HiddenItemBatch:
        owners, items = self._pairs(rows)
        hidden = self._hide(owners, len(rows), generator)
        candidate, chosen, probability = self._choose(items[hidden], generator)
        columns = np.minimum(np.searchsorted(chosen, items), len(chosen) - 1)
        present = chosen[columns] == items
        return HiddenItemBatch(
            self._query(self._users[rows], owners[hidden], items[hidden]),
            candidate,
            probability,
            np.stack([owners, columns])[:, hidden],
            np.stack([owners, columns])[:, present & ~hidden],
        )

    def _pairs(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Give the batch's pairs: the row of the user, and the item."""
        lengths = self._lengths[rows]
        owners = np.repeat(np.arange(len(rows)), lengths)
        places = np.arange(len(owners)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        return owners, self._items[self._firsts[rows][owners] + places]

    def _hide(
        self, owners: NDArray[np.int64], users: int, generator: np.random.Generator
    ) -> NDArray[np.bool_]:
        rates = generator.uniform(*self._range, users)
        drawn = generator.random(len(owners))
        lengths = np.bincount(owners, minlength=users)
        least = np.minimum.reduceat(drawn, np.cumsum(lengths) - lengths)
        hidden: NDArray[np.bool_] = (drawn < rates[owners]) | (drawn == least[owners])
        return hidden

    def _choose(
        self, hidden: NDArray[np.int64], generator: np.random.Generator
    ) -> tuple[dict[str, NDArray[Any]], NDArray[np.int64], NDArray[np.float32]]:
        """Give the candidates' features, their items in ascending order, and how likely each is one."""
        count = len(self._dataset.items)
        if self._catalogue is not None:
            return self._catalogue, np.arange(count), np.ones(count, dtype=np.float32)
        wanted = np.unique(hidden)
        others = count - len(wanted)
        sampled = np.sort(generator.choice(others, min(self._candidates, others), replace=False))
        # Numbers of the items that are not wanted, as if these were taken out of the catalogue.
        sampled += np.searchsorted(wanted - np.arange(len(wanted)), sampled, side="right")
        chosen = np.concatenate([wanted, sampled])
        order = np.argsort(chosen)
        rate = len(sampled) / max(others, 1)
        probability = np.repeat([1.0, rate], [len(wanted), len(sampled)]).astype(np.float32)
        return self._dataset.items.take(chosen[order]), chosen[order], probability[order]

    def _query(
        self, users: NDArray[np.int64], owners: NDArray[np.int64], hidden: NDArray[np.int64]
    ) -> dict[str, NDArray[Any]]:
        features = self._dataset.users.take(users)
        size = len(self._dataset.items) + FIRST_TOKEN
        taken = owners * size + hidden + FIRST_TOKEN
        for name in self._dataset.histories:
            cells = np.arange(len(users))[:, None] * size + features[name]
            features[name] = np.where(np.isin(cells, taken), MISSING, features[name])
        return features
