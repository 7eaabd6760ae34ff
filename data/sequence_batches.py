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
    """Parts of histories, and the negatives of all of their places.

    Args:
        items: Indices, oldest first, int64 `[batch, length]`, padded with 0 at the end.
        probability: How likely each of them is to be sampled as a negative, float32 `[batch, length]`.
        negatives: Indices, int64 `[negatives]`.
        negative_probability: Likewise, float32 `[negatives]`.
        learnt: Whether an item is to be predicted from those before it, bool `[batch, length]`; others only
            tell of those that follow.
        earlier: Indices of the history's items before the part, int64 `[batch, earlier]`, padded with 0.
    """

    items: NDArray[np.int64]
    probability: NDArray[np.float32]
    negatives: NDArray[np.int64]
    negative_probability: NDArray[np.float32]
    learnt: NDArray[np.bool_]
    earlier: NDArray[np.int64]


class SequenceBatches(ShuffledBatches[SequenceBatch]):
    """Histories cut into windows, shuffled anew each epoch by the seed and the epoch's number.

    A window holds up to `stride` items that are to be predicted, and items before these, `max_length + 1` in
    all. Windows are cut from a history's end, so that each item is predicted once an epoch, a history's first
    one from nothing.

    Args:
        histories: Indices of the item's vocabulary, oldest first, one row a user; empty rows are left out.
            `Dataset.full_history` is such.
        size: Of the item's encoder: its tokens, missing and unknown.
        batch_size: Windows a batch.
        seed: Of the shuffles and of the negatives.
        max_length: Items that are known when the last one of a window is predicted.
        stride: Items that a window adds; the fewer, the more items are known when the first of them is
            predicted, and the more there is to compute. `max_length` if not given.
        negatives: Items sampled for each batch, with replacement; None takes the whole vocabulary.
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
        stride: int | None = None,
        negatives: int | None = 512,
        power: float = 0.5,
    ) -> None:
        if min(batch_size, max_length, 1 if negatives is None else negatives) < 1:
            raise ValueError(
                "batch_size, max_length and negatives must be at least 1, "
                f"got {batch_size}, {max_length} and {negatives}"
            )
        if stride is not None and not 1 <= stride <= max_length:
            raise ValueError(f"stride must be from 1 to max_length ({max_length}), got {stride}")
        if power < 0:
            raise ValueError(f"power must not be negative, got {power}")
        _check_indices(histories.values, size)
        self._histories = histories
        self._windows = _cut(histories, max_length, stride or max_length)
        super().__init__(len(self._windows.ends), batch_size, seed)
        self._negatives = negatives
        weights = np.ones(size)
        if negatives is not None:
            weights = np.bincount(histories.values, minlength=size).astype(np.float64) ** power
        weights[:FIRST_TOKEN] = 0.0
        probability = weights / weights.sum()
        self._cumulated = np.cumsum(probability)
        self._probability = probability.astype(np.float32)

    def epoch(self, number: int, first: int = 0) -> Iterator[SequenceBatch]:
        """Give an epoch's batches, from batch `first` on."""
        probability, windows, between = self._probability, self._windows, self._histories.between
        for step, rows in self.steps(number, first):
            begins, ends = windows.begins[rows], windows.ends[rows]
            items = between(begins, ends)
            places = begins[:, None] + np.arange(items.shape[1])
            learnt = (places >= windows.learnt_from[rows][:, None]) & (places < ends[:, None])
            # Of a step's own generator, so that an epoch goes on from any step as it would have.
            negatives = self._sample(np.random.default_rng([self._seed, number, step]))
            yield SequenceBatch(
                items,
                probability[items],
                negatives,
                probability[negatives],
                learnt,
                between(windows.first[rows], begins),
            )

    def _sample(self, generator: np.random.Generator) -> NDArray[np.int64]:
        if self._negatives is None:
            return np.arange(FIRST_TOKEN, len(self._probability))
        # The sum may end below 1 by rounding.
        drawn = generator.random(self._negatives) * self._cumulated[-1]
        found: NDArray[np.int64] = np.searchsorted(self._cumulated, drawn, side="right")
        return found


@dataclass(frozen=True)
class _Windows:
    """Parts of the histories' values, int64 `[windows]` each: where they begin and end, what they teach."""

    first: NDArray[np.int64]
    begins: NDArray[np.int64]
    learnt_from: NDArray[np.int64]
    ends: NDArray[np.int64]


def _check_indices(values: NDArray[np.int64], size: int) -> None:
    if not len(values):
        raise DataError("every history is empty: there is no sequence to learn from")
    lowest, highest = int(values.min()), int(values.max())
    if lowest < FIRST_TOKEN or highest >= size:
        raise DataError(
            f"histories hold indices from {lowest} to {highest}, but the items' are from {FIRST_TOKEN} "
            f"to {size - 1}: encode them with the items' own encoder"
        )


def _cut(histories: Ragged, max_length: int, stride: int) -> _Windows:
    """Cut histories into windows of at most `max_length + 1` items, whose last `stride` ones are learnt.

    A history's first item is learnt in its first window, beside the `stride` that follow.
    """
    lengths = histories.lengths
    counts = np.maximum(-(-(lengths - 1) // stride), 1) * (lengths > 0)
    row = np.repeat(np.arange(len(histories)), counts)
    backwards = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
    first = histories.offsets[row]
    ends = histories.offsets[row + 1] - backwards * stride
    learnt_from = ends - stride
    learnt_from[learnt_from <= first + 1] = first[learnt_from <= first + 1]
    begins = np.maximum(ends - max_length - 1, first)
    return _Windows(first, begins, np.maximum(learnt_from, first), ends)
