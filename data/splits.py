"""Which interactions train, validate and test."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import polars as pl
from numpy.typing import NDArray

from torchtowers.data.config import SplitConfig
from torchtowers.data.errors import DataError, shorten
from torchtowers.data.grouping import group, group_in_time, places
from torchtowers.data.mapped import Growing, mapped, spans
from torchtowers.data.permutation import Permutation

__all__ = [
    "PARTS",
    "Split",
    "part_numbers",
    "split_by_part",
    "split_by_time",
    "split_leave_last_out",
    "split_per_user",
    "split_random",
]

PARTS = ("train", "validation", "test")

# Gives the parts of rows from a first to before a last place, as numbers in `PARTS`.
_Parts = Callable[[int, int], NDArray[np.int64]]


@dataclass(frozen=True)
class Split:
    """Row numbers of the interactions in each part; every row is in exactly one.

    Args:
        train: int64.
        validation: int64; empty where none is asked for.
        test: int64.
    """

    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]


def split_random(rows: int, config: SplitConfig) -> Split:
    """Shuffle the rows with the seed; the last `test_fraction` tests, of the rest the last part validates.

    The test part depends on the seed and the test fraction only, so that a configuration tuned with a
    validation part is tested on the same rows as one without.

    Raises:
        DataError: A part that was asked for would be empty.
    """
    order = Permutation(rows, config.seed)
    shuffled = mapped(rows, np.int64)
    for first, last in spans(rows):
        shuffled[first:last] = order.between(first, last)
    rest, learnt = _cuts(rows, config)
    return _checked(Split(shuffled[:learnt], shuffled[learnt:rest], shuffled[rest:]), config)


def split_per_user(users: NDArray[np.int64], config: SplitConfig) -> Split:
    """Shuffle each user's rows with the seed and divide them; fractions of a row are rounded.

    A user whose part of a row rounds to 0 is not tested.

    Args:
        users: Each row's user, int64 `[rows]`.
        config: The fractions and the seed.

    Raises:
        DataError: A part that was asked for would be empty.
    """
    counts = np.bincount(users)
    rest = counts - np.rint(counts * config.test_fraction).astype(np.int64)
    learnt = rest - np.rint(rest * config.validation_fraction).astype(np.int64)
    grouped = group(users, len(counts), Permutation(len(users), config.seed))

    def part(first: int, last: int) -> NDArray[np.int64]:
        owners = users[grouped[first:last]]
        place, _ = places(owners, first, counts)
        return _numbers(place >= learnt[owners], place >= rest[owners])

    return _checked(_divided(grouped, part), config)


def split_leave_last_out(users: NDArray[np.int64], times: NDArray[np.int64], config: SplitConfig) -> Split:
    """Let each user's last row test, and the one before it validate if that is asked for.

    Rows of the same time are taken in their own order. A user's first row always trains, so that a user with
    one row is not tested, and one with two does not validate.

    Args:
        users: Each row's user, int64 `[rows]`.
        times: Each row's time, int64 `[rows]`.
        config: Whether there is a validation part: its fraction is above 0.

    Raises:
        DataError: A part that was asked for would be empty.
    """
    counts = np.bincount(users)
    grouped = group_in_time(users, len(counts), times)

    def part(first: int, last: int) -> NDArray[np.int64]:
        place, count = places(users[grouped[first:last]], first, counts)
        held_out = 2 if config.has_validation else 1
        return _numbers((place >= 1) & (place >= count - held_out), (place >= 1) & (place == count - 1))

    return _checked(_divided(grouped, part), config)


def split_by_time(times: NDArray[np.int64], config: SplitConfig) -> Split:
    """Let the latest rows test, and the latest of the others validate.

    Args:
        times: Each row's time, int64 `[rows]`; rows of the same time are taken in their own order.
        config: The fractions, or the times from which on rows test and validate.

    Raises:
        DataError: A part that was asked for would be empty.
    """
    if config.test_from is not None:
        test_from = _seconds(config.test_from)
        validation_from = test_from if config.validation_from is None else _seconds(config.validation_from)
        if validation_from > test_from:
            raise DataError(
                f"split.validation_from: got {config.validation_from}, after test_from, {config.test_from}"
            )

        def part(first: int, last: int) -> NDArray[np.int64]:
            chunk = times[first:last]
            return _numbers(chunk >= validation_from, chunk >= test_from)

    else:
        ordered = mapped(len(times), np.int64)
        ordered[:] = times
        ordered.sort()
        rest, learnt = (_Behind(ordered, cut) for cut in _cuts(len(times), config))

        def part(first: int, last: int) -> NDArray[np.int64]:
            chunk = times[first:last]
            return _numbers(learnt(chunk), rest(chunk))

    return _checked(_divided(None, part, len(times)), config)


def part_numbers(labels: pl.Series, what: str) -> NDArray[np.uint8]:
    """Give the place in `PARTS` of each row's `train`, `validation` or `test`.

    Args:
        labels: Text.
        what: Where it comes from, for errors.

    Raises:
        DataError: A row says something else.
    """
    odd = labels.filter(~labels.is_in(PARTS).fill_null(False))
    if odd.len():
        raise DataError(f"{what}: got {shorten(odd[0] or 'nothing')}; allowed: {', '.join(PARTS)}")
    numbers: NDArray[np.uint8] = labels.cast(pl.Enum(PARTS)).to_physical().to_numpy().astype(np.uint8)
    return numbers


def split_by_part(parts: NDArray[np.uint8], what: str) -> Split:
    """Take what each row says.

    Args:
        parts: Places in `PARTS`, uint8 `[rows]`.
        what: Where they come from, for errors.

    Raises:
        DataError: No row trains or tests.
    """
    split = _divided(None, lambda first, last: parts[first:last].astype(np.int64), len(parts))
    for part in ("train", "test"):
        if not len(getattr(split, part)):
            raise DataError(f"{what}: no interaction is left in the part {part}: give it some")
    return split


class _Behind:
    """Tells which rows are at a place of the order of time or behind it, going through the rows once."""

    def __init__(self, ordered: NDArray[np.int64], cut: int) -> None:
        self._moment = int(ordered[cut]) if cut < len(ordered) else np.iinfo(np.int64).max
        # Where the place is among rows of one time, so many of these are before it.
        self._before = cut - int(np.searchsorted(ordered, self._moment))

    def __call__(self, times: NDArray[np.int64]) -> NDArray[np.bool_]:
        tied = times == self._moment
        number = np.cumsum(tied)
        behind: NDArray[np.bool_] = (times > self._moment) | (tied & (number > self._before))
        self._before -= int(number[-1])
        return behind


def _numbers(behind_training: NDArray[np.bool_], behind_validation: NDArray[np.bool_]) -> NDArray[np.int64]:
    return behind_training.astype(np.int64) + behind_validation


def _cuts(rows: int, config: SplitConfig) -> tuple[int, int]:
    """Give where the test part begins, and where the validation part does."""
    rest = rows - round(rows * config.test_fraction)
    return rest, rest - round(rest * config.validation_fraction)


def _divided(order: NDArray[np.int64] | None, part: _Parts, rows: int = 0) -> Split:
    """Divide rows, in an order or in their own."""
    found = [Growing(np.int64) for _ in PARTS]
    for first, last in spans(rows if order is None else len(order)):
        chunk = np.arange(first, last) if order is None else order[first:last]
        numbers = part(first, last)
        for number, grown in enumerate(found):
            grown.append(chunk[numbers == number])
    return Split(*(grown.finish() for grown in found))


def _seconds(moment: str) -> int:
    time = datetime.fromisoformat(moment)
    return int((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp())


def _checked(split: Split, config: SplitConfig) -> Split:
    sizes = {part: len(getattr(split, part)) for part in PARTS}
    if not sizes["train"] or not sizes["test"] or (config.has_validation and not sizes["validation"]):
        raise DataError(
            f"split: {sum(sizes.values())} interactions give {sizes['train']} for training, "
            f"{sizes['validation']} for validation and {sizes['test']} for test; change "
            + (
                "split.kind, split.test_fraction or split.validation_fraction"
                if config.test_from is None
                else "split.test_from or split.validation_from"
            )
        )
    return split
