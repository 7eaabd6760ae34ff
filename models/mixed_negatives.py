"""Mixed negative sampling: items drawn evenly from the catalogue beside those of the batch."""

import torch
from torch import Tensor

__all__ = ["MixedNegatives", "mixed_probability"]


def mixed_probability(batch_probability: Tensor, batch: int, items: int, count: int) -> Tensor:
    """Give the probability of an item in the mixture of a batch and of even draws.

    Of `batch + count` candidates, `batch` come by the batch's probability and `count` evenly.

    Args:
        batch_probability: How likely one draw into the batch is each item, any shape; 0 where the batch never
            holds it. In its place the estimate of `StreamingFrequency`, which is that of a whole batch, with
            a `batch` of 1: the softmax doesn't see the constant between the two.
        batch: Examples in the batch.
        items: Size of the catalogue.
        count: Even draws.

    Returns:
        The shape of `batch_probability`. The correction in the loss takes anything below 1e-6 for 1e-6, as
        TFRS does.

    Example:
        >>> mixed_probability(torch.tensor([0.5, 0.0]), batch=6, items=4, count=2).tolist()
        [0.4375, 0.0625]
    """
    return (batch * batch_probability + count / items) / (batch + count)


class MixedNegatives:
    """Draws items evenly, so that those that no batch holds are negatives too (Yang et al. 2020).

    In-batch negatives come by their popularity, so the many items that few users chose are hardly ever among
    them, and their scores stay what they were by chance.

    Args:
        items: Rows of the item table, such as an encoder's `size`.
        count: Items a draw.
        first: The first row that is an item. Rows of an encoder's indices begin with those of missing and of
            unknown items, which are never to be drawn: give its `FIRST_TOKEN`.
        generator: Makes draws repeatable; on the device on which the items are wanted.

    Raises:
        ValueError: A number is below 1, or `first` is no row of the table.

    Example:
        >>> from torchtowers.handlers.encoders import FIRST_TOKEN, TokenEncoder, Vocabulary
        >>> encoder = TokenEncoder(Vocabulary(["a", "b", "c"]))
        >>> sorted(set(MixedNegatives(encoder.size, 99, first=FIRST_TOKEN).draw().tolist()))
        [2, 3, 4]

        As further candidates of a batch, their sampling corrected:

        >>> from torchtowers.models.retrieval import Retrieval
        >>> table = torch.nn.Embedding(1000, 8)
        >>> negatives, task = MixedNegatives(1000, 64), Retrieval(remove_accidental_hits=True)
        >>> queries, probability = torch.randn(4, 8), torch.full((1000,), 1e-3)
        >>> ids = torch.cat([torch.tensor([7, 8, 7, 1]), negatives.draw()])
        >>> mixed = negatives.probability(probability[ids], batch=4)
        >>> loss = task(queries, table(ids), candidate_ids=ids, candidate_sampling_probability=mixed)
    """

    def __init__(
        self, items: int, count: int, *, first: int = 0, generator: torch.Generator | None = None
    ) -> None:
        if items < 1 or count < 1:
            raise ValueError(f"items and count have to be at least 1, got {items} and {count}")
        if not 0 <= first < items:
            raise ValueError(f"first has to be one of the rows 0 to {items - 1}, got {first}")
        self.items = items
        self.count = count
        self.first = first
        self.generator = generator

    def draw(self, device: torch.device | str | None = None) -> Tensor:
        """Draw rows of items, evenly and with replacement; int64 `[count]`."""
        if device is None and self.generator is not None:
            device = self.generator.device
        return torch.randint(self.first, self.items, (self.count,), generator=self.generator, device=device)

    def probability(self, batch_probability: Tensor, batch: int) -> Tensor:
        """Give the probability of items in the mixture; arguments as in `mixed_probability`."""
        return mixed_probability(batch_probability, batch, self.items - self.first, self.count)
