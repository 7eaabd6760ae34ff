"""Which interactions train, validate and test."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from torchtowers.data.config import SplitConfig
from torchtowers.data.errors import DataError

__all__ = ["Split", "split_random"]


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
    order = np.random.default_rng(config.seed).permutation(rows)
    tested = round(rows * config.test_fraction)
    rest, test = order[: rows - tested], order[rows - tested :]
    validated = round(len(rest) * config.validation_fraction)
    split = Split(rest[: len(rest) - validated], rest[len(rest) - validated :], test)
    if not len(split.train) or not tested or (config.validation_fraction > 0 and not validated):
        raise DataError(
            f"split: {rows} interactions give {len(split.train)} for training, {validated} for validation "
            f"and {tested} for test; change split.test_fraction or split.validation_fraction"
        )
    return split
