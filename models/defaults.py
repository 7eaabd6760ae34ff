"""Settings that follow from the data, where a configuration leaves them open."""

import math

__all__ = ["embedding_dim", "users_a_batch"]

_SMALLEST, _LARGEST = 32, 512


def embedding_dim(interactions: int, items: int) -> int:
    """Give the width of embeddings: the power of 2 from the root of the number of interactions on.

    Below that a catalogue's structure does not fit in; above, dropout keeps what is too much from harm, and
    only time and memory grow. No wider than the number of items, and from 32 to 512.

    Args:
        interactions: Of the training part.
        items: Of the catalogue.

    Example:
        >>> embedding_dim(80_000, 1_682), embedding_dim(3_000, 500), embedding_dim(50_000_000, 100_000)
        (512, 64, 512)
    """
    widest = 1 << math.floor(math.log2(max(items, 1)))
    wanted = 1 << math.ceil(math.log2(max(math.sqrt(interactions), 1)))
    return min(max(min(wanted, widest), _SMALLEST), _LARGEST)


def users_a_batch(users: int) -> int:
    """Give the users a step: an eighth of all, rounded up to a power of 2, from 16 to 512.

    An epoch of fewer steps learns too little between two looks at the validation part; of more steps it takes
    longer and learns no more.

    Example:
        >>> users_a_batch(943), users_a_batch(40), users_a_batch(1_000_000)
        (128, 16, 512)
    """
    return min(max(1 << math.ceil(math.log2(max(users / 8, 1))), 16), 512)
