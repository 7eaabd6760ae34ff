"""How often an item comes by in a stream, without counting the stream first."""

import torch
from torch import Tensor, nn

__all__ = ["StreamingFrequency"]


class StreamingFrequency(nn.Module):
    """Estimates each item's probability of being in a batch, for the sampling correction (logQ).

    An item's average number of steps between two batches that hold it is followed by a moving average in a
    hashed table; its inverse is the probability. Collisions make items look more frequent, so that several
    tables with hashes of their own are kept and the largest gap counts. Source: Yi et al. 2019, algorithm 2
    and section 4.2.

    Args:
        buckets: Rows of a table.
        tables: Number of tables.
        learning_rate: Of the moving average; smaller is smoother and slower.
        initial_gap: Steps that an unknown item is taken to stay away.

    Raises:
        ValueError: A size is below 1, or the learning rate is not in (0, 1].
    """

    last_step: Tensor
    gap: Tensor
    step: Tensor
    multipliers: Tensor

    def __init__(
        self, buckets: int, *, tables: int = 2, learning_rate: float = 0.05, initial_gap: float = 100.0
    ) -> None:
        super().__init__()
        if buckets < 1 or tables < 1:
            raise ValueError(f"buckets and tables have to be at least 1, got {buckets} and {tables}")
        if not 0 < learning_rate <= 1:
            raise ValueError(f"the learning rate has to be above 0 and at most 1, got {learning_rate}")
        self.buckets = buckets
        self.learning_rate = learning_rate
        # Odd, so that no item is lost to a power of two; fixed, so that a resumed run agrees.
        generator = torch.Generator().manual_seed(0)
        multipliers = torch.randint(1 << 20, 1 << 30, (tables,), generator=generator) * 2 + 1
        self.register_buffer("multipliers", multipliers)
        # Whole numbers: single precision stops counting at 2^24 steps.
        self.register_buffer("last_step", torch.zeros(tables, buckets, dtype=torch.int64))
        self.register_buffer("gap", torch.full((tables, buckets), initial_gap))
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def update(self, items: Tensor) -> None:
        """Take in one batch.

        Args:
            items: Integers `[batch]`; an item that comes twice counts once.
        """
        self.step += 1
        rows = self._rows(torch.unique(items))
        for table, hashed in enumerate(rows):
            hit = torch.unique(hashed)
            since = self.step - self.last_step[table, hit]
            self.gap[table, hit] += self.learning_rate * (since - self.gap[table, hit])
            self.last_step[table, hit] = self.step

    def probability(self, items: Tensor) -> Tensor:
        """Estimate the probability that a batch holds an item; float32 `[items]`, in (0, 1]."""
        rows = self._rows(items)
        gaps = torch.stack([self.gap[table, hashed] for table, hashed in enumerate(rows)])
        return 1.0 / gaps.amax(0).clamp(min=1.0)

    def _rows(self, items: Tensor) -> list[Tensor]:
        # Products of another type overflow elsewhere, and would name other rows.
        items = items.long()
        mixed = [(items * multiplier) ^ (items >> 16) for multiplier in self.multipliers]
        # The high bits are the well mixed ones.
        return [((value >> 13) & 0x7FFFFFFF) % self.buckets for value in mixed]
