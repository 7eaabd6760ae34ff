"""What the parts of the data could tell a model that it should not know."""

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from torchtowers.data.history import History
from torchtowers.data.interactions import Interactions
from torchtowers.data.mapped import spans
from torchtowers.data.repeats import keys_of, sorted_keys

__all__ = ["leakage_of"]

# A column is looked at in so many training rows, and tells the label if it leaves this part of its variance.
_ROWS = 100_000
_UNEXPLAINED = 0.01


def leakage_of(
    train: Interactions,
    validation: Interactions,
    test: Interactions,
    kind: str,
    histories: Mapping[str, History],
) -> Iterator[str]:
    """Look for interactions of one part that give away those of another, and for columns that hold the label.

    Args:
        train: Interactions to learn from.
        validation: Interactions to choose by.
        test: Interactions to report on.
        kind: Of the split.
        histories: By feature.

    Returns:
        A sentence for each finding.
    """
    known = sorted_keys(train, _width(train, validation, test))
    for name, part in (("validation", validation), ("test", test)):
        repeated = _repeated(known, part, _width(train, validation, test))
        if repeated:
            yield (
                f"{repeated:,} of {len(part):,} {name} interactions have a user and an item that are "
                "together in training too: they are known, not predicted (data.duplicates: last keeps one)"
            )
    if kind in ("column", "files"):
        early = _earlier(train, test)
        if early:
            yield (
                f"{early:,} of {len(test):,} test interactions are earlier than the same user's last one in "
                "training: a model learns from their future"
            )
    if kind in ("leave_last_out", "time"):
        for feature, history in histories.items():
            if history.order == "others":
                yield (
                    f"features: {feature} shows an example all others, also later ones, and the "
                    "split goes by time: order preceding shows what is known then"
                )
    yield from _tellers(train)


def _width(*parts: Interactions) -> int:
    return max(int(part.items.max(initial=-1)) for part in parts) + 1


def _repeated(known: NDArray[np.int64], part: Interactions, width: int) -> int:
    """Count the pairs that are known."""
    found = 0
    for first, last in spans(len(part)):
        keys = keys_of(part, first, last, width)
        places = np.minimum(np.searchsorted(known, keys), len(known) - 1)
        found += int((known[places] == keys).sum())
    return found


def _earlier(train: Interactions, test: Interactions) -> int:
    """Count the test interactions that are earlier than their user's last one in training."""
    if train.times is None or test.times is None:
        return 0
    latest = np.full(
        max(int(part.users.max(initial=-1)) for part in (train, test)) + 1, np.iinfo(np.int64).min
    )
    early = 0
    for first, last in spans(len(train)):
        np.maximum.at(latest, train.users[first:last], train.times[first:last])
    for first, last in spans(len(test)):
        early += int((test.times[first:last] < latest[test.users[first:last]]).sum())
    return early


def _tellers(train: Interactions) -> Iterator[str]:
    """Look for columns of the interactions from which the label follows."""
    if train.labels is None:
        return
    rows = np.arange(0, len(train), -(-len(train) // _ROWS))
    labels = train.labels[rows].astype(np.float64)
    spread = labels.var()
    for name, column in train.context.items():
        if not isinstance(column, np.ndarray) or column.ndim > 1 or spread == 0:
            continue
        left = _unexplained(column[rows], labels) / spread
        if left < _UNEXPLAINED:
            yield (
                f"features.context.{name} tells {1 - left:.1%} of the label: is it known when a request "
                "comes, or written down with the label?"
            )


def _unexplained(values: NDArray[np.int64], labels: NDArray[np.float64]) -> float:
    """Give the variance of the labels among rows of one value, or about a line where few rows share one."""
    _, groups, counts = np.unique(values, return_inverse=True, return_counts=True)
    if len(counts) > len(values) / 10:
        correlation = np.corrcoef(values.astype(np.float64), labels)[0, 1]
        return float(labels.var() * (1 - correlation**2))
    means = np.bincount(groups, labels) / counts
    return float(np.mean((labels - means[groups]) ** 2))
