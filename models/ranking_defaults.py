"""Settings of ranking models that follow from the data, where a configuration leaves them open."""

import math

__all__ = ["examples_a_batch", "ranking_dim"]


def ranking_dim(interactions: int) -> int:
    """Give the width of embeddings: the power of 2 below the cube root of the number of labels, 8 to 128.

    A pair of ids has one label, where in retrieval a user's every other item is a negative: less can be
    learnt of it, so that tables are narrower than there.

    Example:
        >>> ranking_dim(80_000), ranking_dim(3_000), ranking_dim(50_000_000)
        (32, 8, 128)
    """
    return min(max(_power_below(max(interactions, 1) ** (1 / 3)), 8), 128)


def examples_a_batch(interactions: int) -> int:
    """Give the examples a step: 64 steps an epoch or more, as a power of 2 from 32 to 1024.

    The best number of epochs is a small one, and with few steps in each, too coarse a choice.

    Example:
        >>> examples_a_batch(72_000), examples_a_batch(3_000), examples_a_batch(50_000_000)
        (1024, 32, 1024)
    """
    return min(max(_power_below(interactions / 64), 32), 1024)


def _power_below(value: float) -> int:
    return 1 << math.floor(math.log2(max(value, 1)))
