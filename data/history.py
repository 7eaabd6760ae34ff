"""The items that users had in training, or the users of items, as an example may see them."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from torchtowers.data.feature_config import HistoryFeature
from torchtowers.data.grouping import group_in_time
from torchtowers.data.mapped import Growing, spans
from torchtowers.data.ragged import Ragged
from torchtowers.handlers.encoders import FIRST_TOKEN, MISSING

__all__ = ["History"]


@dataclass(frozen=True)
class History:
    """Each user's items in training, oldest first.

    Of an item's history users and items change places: it holds the users that had the item.

    Args:
        feature: Which items, and how many of them are shown.
        items: Indices of the item's vocabulary, a row for each user.
        times: When, int64 `[sum of lengths]`; None where no times are known, and the order is the file's.
        order: What an example shows: `preceding`, or all `others`.
    """

    feature: HistoryFeature
    items: Ragged
    times: NDArray[np.int64] | None
    order: Literal["preceding", "others"]

    @classmethod
    def build(
        cls,
        feature: HistoryFeature,
        users: NDArray[np.int64],
        items: NDArray[np.int64],
        *,
        count: int,
        labels: NDArray[np.float32] | None,
        times: NDArray[np.int64] | None,
        order: Literal["preceding", "others"],
    ) -> "History":
        """Collect training interactions.

        Args:
            feature: Which of them.
            users: Each interaction's user as a row, int64 `[rows]`.
            items: Its item as a row, int64 `[rows]`.
            count: Number of users.
            labels: Its rating, float32 `[rows]`, where the feature looks at it.
            times: When, int64 `[rows]`; rows of the same time keep their order.
            order: What an example shows.
        """
        order_in_time = group_in_time(users, count, times)
        values, when = Growing(np.int64), Growing(np.int64)
        lengths = np.zeros(count, dtype=np.int64)
        for first, last in spans(len(users)):
            rows = order_in_time[first:last]
            if labels is not None:
                rows = rows[_is_shown(feature, labels[rows])]
            values.append(items[rows] + FIRST_TOKEN)
            if times is not None:
                when.append(times[rows])
            lengths += np.bincount(users[rows], minlength=count)
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        return cls(feature, Ragged(values.finish(), offsets), None if times is None else when.finish(), order)

    @property
    def shown(self) -> Ragged:
        """What is shown of each user when all training is past: the last `max_length` items."""
        return self.items.last(self.feature.max_length)

    def take_examples(
        self,
        users: NDArray[np.int64],
        items: NDArray[np.int64],
        times: NDArray[np.int64] | None = None,
    ) -> NDArray[np.int64]:
        """Give what examples may see of their users' histories.

        Args:
            users: Each example's user as a row, int64 `[batch]`.
            items: Its item as a row, which its history does not show, int64 `[batch]`.
            times: When it happened, int64 `[batch]`; needed for `preceding`.

        Returns:
            int64 `[batch, length]`, padded with 0.
        """
        begins, ends = self.items.offsets[users], self.items.offsets[users + 1]
        if self.order == "preceding" and times is not None and self.times is not None:
            ends = self._earlier(begins, ends, times)
        begins = np.maximum(begins, ends - self.feature.max_length)
        shown = self.items.between(begins, ends)
        # An example whose target is part of its own input teaches the model to repeat the input.
        shown[shown == items[:, None] + FIRST_TOKEN] = MISSING
        return shown

    def _earlier(
        self, begins: NDArray[np.int64], ends: NDArray[np.int64], times: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Give where items that are not earlier than the examples begin, by bisection of all rows at once."""
        assert self.times is not None
        low, high = begins.copy(), ends.copy()
        while (open_ := low < high).any():
            middle = (low + high) // 2
            earlier = open_ & (self.times[np.minimum(middle, len(self.times) - 1)] < times)
            low = np.where(earlier, middle + 1, low)
            high = np.where(open_ & ~earlier, middle, high)
        return low


def _is_shown(feature: HistoryFeature, labels: NDArray[np.float32]) -> NDArray[np.bool_]:
    shown = np.ones(len(labels), dtype=np.bool_)
    if feature.minimum_rating is not None:
        shown &= labels >= feature.minimum_rating
    if feature.maximum_rating is not None:
        shown &= labels <= feature.maximum_rating
    return shown
