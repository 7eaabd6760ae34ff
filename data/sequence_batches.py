"""Users' histories in batches, from which the next item of each place is learnt."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from torchtowers.data.errors import DataError
from torchtowers.data.ragged import Ragged
from torchtowers.data.shuffled_batches import ShuffledBatches
from torchtowers.handlers.encoders import FIRST_TOKEN

__all__ = ["SequenceBatch", "SequenceBatches"]


@dataclass(frozen=True)
class SequenceBatch:
    """Parts of histories, and items sampled as negatives for all of their places.

    Args:
        items: Indices, oldest first, int64 `[batch, length]`, padded with 0 at the end.
        probability: How likely each of them is to be sampled as a negative, float32 `[batch, length]`.
        negatives: Indices, int64 `[negatives]`.
        negative_probability: Likewise, float32 `[negatives]`.
        begins: Whether a row's first item is a history's first, bool `[batch]`; before others came items
            that the row does not hold.
    """

    items: NDArray[np.int64]
    probability: NDArray[np.float32]
    negatives: NDArray[np.int64]
    negative_probability: NDArray[np.float32]
    begins: NDArray[np.bool_]


class SequenceBatches(ShuffledBatches[SequenceBatch]):
    """Histories cut into windows, shuffled anew each epoch by the seed and the epoch's number.

    A window holds an item, and up to `max_length` items that follow it and are to be predicted. Windows are
    cut from a history's end, so that each item but the first of a history follows some item once an epoch.

    Args:
        histories: Indices of the item's vocabulary, oldest first, one row a user; empty rows are left out.
            `Dataset.full_history` is such.
        size: Of the item's encoder: its tokens, missing and unknown.
        batch_size: Windows a batch.
        seed: Of the shuffles and of the negatives.
        max_length: Items that are known when the last one of a window is predicted.
        negatives: Items sampled for each batch, with replacement.
        power: An item is sampled as often as its count to this power: 1 is its popularity, and 0 any item of
            the vocabulary alike.

    Raises:
        DataError: There is no history, or an index is outside of the vocabulary.
        ValueError: A number is out of range.
    """

    def __init__(
        self,
        histories: Ragged,
        size: int,
        batch_size: int,
        seed: int,
        *,
        max_length: int = 50,
        negatives: int = 512,
        power: float = 0.5,
    ) -> None:
        if min(batch_size, max_length, negatives) < 1:
            raise ValueError(
                "batch_size, max_length and negatives must be at least 1, "
                f"got {batch_size}, {max_length} and {negatives}"
            )
        if power < 0:
            raise ValueError(f"power must not be negative, got {power}")
        _check_indices(histories.values, size)
        self._windows, self._begins = _cut(histories, max_length)
        super().__init__(len(self._windows), batch_size, seed)
        self._negatives = negatives
        weights = np.bincount(histories.values, minlength=size).astype(np.float64) ** power
        weights[:FIRST_TOKEN] = 0.0
        probability = weights / weights.sum()
        self._cumulated = np.cumsum(probability)
        self._probability = probability.astype(np.float32)

    def epoch(self, number: int, first: int = 0) -> Iterator[SequenceBatch]:
        """Give an epoch's batches, from batch `first` on."""
        probability = self._probability
        for step, rows in self.steps(number, first):
            items = self._windows.take(rows)
            # Of a step's own generator, so that an epoch goes on from any step as it would have.
            negatives = self._sample(np.random.default_rng([self._seed, number, step]))
            yield SequenceBatch(
                items, probability[items], negatives, probability[negatives], self._begins[rows]
            )

    def _sample(self, generator: np.random.Generator) -> NDArray[np.int64]:
        # The sum may end below 1 by rounding.
        drawn = generator.random(self._negatives) * self._cumulated[-1]
        found: NDArray[np.int64] = np.searchsorted(self._cumulated, drawn, side="right")
        return found


def _check_indices(values: NDArray[np.int64], size: int) -> None:
    if not len(values):
        raise DataError("every history is empty: there is no sequence to learn from")
    lowest, highest = int(values.min()), int(values.max())
    if lowest < FIRST_TOKEN or highest >= size:
        raise DataError(
            f"histories hold indices from {lowest} to {highest}, but the items' are from {FIRST_TOKEN} "
            f"to {size - 1}: encode them with the items' own encoder"
        )


def _cut(histories: Ragged, max_length: int) -> tuple[Ragged, NDArray[np.bool_]]:
    """Cut histories into windows of at most `max_length + 1` items, each beginning where another one ends.

    Tells of each window whether it begins its history, too.
    """
    lengths = histories.lengths
    counts = np.maximum(-(-(lengths - 1) // max_length), 1) * (lengths > 0)
    row = np.repeat(np.arange(len(histories)), counts)
    backwards = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
    ends = histories.offsets[row + 1] - backwards * max_length
    begins = np.maximum(ends - max_length - 1, histories.offsets[row])
    windows = Ragged.of(histories.values[begin:end] for begin, end in zip(begins, ends, strict=True))
    return windows, begins == histories.offsets[row]
