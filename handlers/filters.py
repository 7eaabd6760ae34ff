"""Which items a row's restriction allows, and what it takes out of a ranking."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from torchtowers.handlers.item_column import Condition, ItemColumn
from torchtowers.handlers.request import Row

__all__ = ["Filters"]

# Bytes and number of the masks of the last conditions that are kept.
_KEPT_BYTES = 1 << 25
_KEPT = 256
# The longest condition whose mask is kept: what clients send must not fill a worker's memory.
_LONGEST = 1024


class Filters:
    """The items' columns, as restrictions ask for them.

    Args:
        columns: By name, in the order of the index.
        items: How many there are.
        rows_of: Gives the rows of those ids that are candidates.
    """

    def __init__(
        self,
        columns: Mapping[str, ItemColumn],
        items: int,
        rows_of: Callable[[Sequence[object]], NDArray[np.int64]],
    ) -> None:
        self._columns = columns
        self._items = items
        self._rows_of = rows_of
        self._mask = lru_cache(max(1, min(_KEPT, _KEPT_BYTES // max(1, items))))(self._mask_of)

    def allowed(self, row: Row) -> NDArray[np.bool_] | None:
        """Tell which items may come back, `[items]`, to be read only; None for all."""
        restriction = row.restriction
        if restriction is None or not restriction.is_of_items:
            return None
        masks = [
            self._mask(condition) if _length(condition) <= _LONGEST else self._mask_of(condition)
            for condition in restriction.filter
        ]
        if restriction.include is not None:
            included = np.zeros(self._items, np.bool_)
            included[self._rows_of(restriction.include)] = True
            masks.append(included)
        return masks[0] if len(masks) == 1 else np.logical_and.reduce(masks)

    def cut(
        self, row: Row, items: NDArray[np.int64], scores: NDArray[np.float32]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Take out of a ranking what the least score and the diversity do not allow, and what is above k.

        Going down the ranking, an item stays unless one of its values was there as often as allowed.

        Args:
            row: Whose ranking it is.
            items: As rows of the index, best first.
            scores: Theirs.
        """
        restriction = row.restriction
        if restriction is None:
            return items[: row.k], scores[: row.k]
        if restriction.min_score is not None:
            with np.errstate(over="ignore"):  # beyond float32 is above or below all scores
                least = np.float32(restriction.min_score)
            count = int(np.count_nonzero(scores >= least))
            items, scores = items[:count], scores[:count]
        if restriction.diversity:
            kept = self._diverse(restriction.diversity, items.tolist(), row.k)
            return items[kept], scores[kept]
        return items[: row.k], scores[: row.k]

    def _diverse(self, diversity: Sequence[tuple[str, int]], items: Sequence[int], k: int) -> list[int]:
        counts: dict[str, Counter[float]] = {name: Counter() for name, _ in diversity}
        kept: list[int] = []
        for place, item in enumerate(items):
            own = {name: set(self._columns[name].values_of(item)) for name, _ in diversity}
            if any(counts[name][value] >= most for name, most in diversity for value in own[name]):
                continue
            for name, values in own.items():
                counts[name].update(values)
            kept.append(place)
            if len(kept) == k:
                break
        return kept

    def _mask_of(self, condition: Condition) -> NDArray[np.bool_]:
        mask = self._columns[condition.column].mask(condition)
        mask.setflags(write=False)
        return mask


def _length(condition: Condition) -> int:
    """Give about how many bytes a condition's values take."""
    return sum(len(value) if isinstance(value, bytes) else 8 for value in condition.values or ())
