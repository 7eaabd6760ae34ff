"""An embedding table whose rows are pooled, with weights if wanted."""

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["POWERS", "Combiner", "EmbedReduce", "divide_by_length"]

Combiner = Literal["mean", "sum", "sqrtn"]

# Of a list's length, which divides the sum of its rows.
POWERS: dict[str, float] = {"mean": 1.0, "sum": 0.0, "sqrtn": 0.5}


class EmbedReduce(nn.Module):
    """Embeds lists of indices and combines each list's rows into one: Keras-RS's `layers.EmbedReduce`.

    Rows start uniform between -0.05 and 0.05, as Keras's do. `ListEmbedding` is the leaner layer for towers
    that train with dropped tokens.

    Args:
        size: Rows of the table.
        dim: Its width.
        combiner: `sum(w * e)`, divided by `sum(w)` for `mean` and by `sqrt(sum(w * w))` for `sqrtn`.
        padding_idx: An index that stands for nothing and counts for nothing; `None` if each counts. Keras-RS
            pools the padding too, even with `mask_zero`.
        sparse: Whether the table's gradient is sparse, for optimizers that take it.

    Raises:
        ValueError: A number is out of range, or the combiner is unknown.
    """

    def __init__(
        self,
        size: int,
        dim: int,
        *,
        combiner: Combiner = "mean",
        padding_idx: int | None = None,
        sparse: bool = False,
    ) -> None:
        super().__init__()
        if size < 1 or dim < 1:
            raise ValueError(f"size and dim must be at least 1, got {size} and {dim}")
        if combiner not in get_args(Combiner):
            raise ValueError(f"combiner must be one of {', '.join(get_args(Combiner))}, got {combiner!r}")
        if padding_idx is not None and not 0 <= padding_idx < size:
            raise ValueError(
                f"padding_idx must be from 0 to {size - 1}, the table's last row, got {padding_idx}"
            )
        self.combiner: str = combiner
        self.padding_idx = padding_idx
        self.sparse = sparse
        self.weight = nn.Parameter(torch.empty(size, dim).uniform_(-0.05, 0.05))

    def forward(self, ids: Tensor, weights: Tensor | None = None) -> Tensor:
        """Look up and combine.

        Args:
            ids: int64 `[batch, length]`, or `[batch]` for one index each.
            weights: As `ids`; all 1 if not given. With `[batch]` only `sum` uses them.

        Returns:
            `[batch, dim]`; zeros where there is nothing to divide by, as in an empty list.

        Raises:
            ValueError: `ids` has another number of dimensions, or `weights` another shape.

        Example:
            >>> embed = EmbedReduce(4, 2, combiner="sum", padding_idx=0)
            >>> _ = embed.weight.data.copy_(torch.arange(8.0).view(4, 2))
            >>> embed(torch.tensor([[1, 3, 0]]), torch.tensor([[1.0, 0.5, 9.0]])).detach()
            tensor([[5.0000, 6.5000]])
        """
        if ids.dim() != 1 and ids.dim() != 2:
            raise ValueError(f"ids must be [batch] or [batch, length], got {list(ids.shape)}")
        if weights is not None and weights.shape != ids.shape:
            raise ValueError(f"weights must be shaped as ids {list(ids.shape)}, got {list(weights.shape)}")
        counted = self._counted(ids, weights)
        if ids.dim() == 1:
            return F.embedding(ids, self.weight, sparse=self.sparse) * counted.unsqueeze(-1)
        total = (F.embedding(ids, self.weight, sparse=self.sparse) * counted.unsqueeze(-1)).sum(1)
        if self.combiner == "mean":
            return _divide_no_nan(total, counted.sum(1, keepdim=True))
        if self.combiner == "sqrtn":
            return _divide_no_nan(total, _safe_sqrt(counted.square().sum(1, keepdim=True)))
        return total

    def _counted(self, ids: Tensor, weights: Tensor | None) -> Tensor:
        """What each index counts: its weight, 1 without one, 0 for padding."""
        # One row divided by its own weight is the row itself, also where the weight is 0.
        if weights is None or (ids.dim() == 1 and self.combiner != "sum"):
            counted = torch.ones_like(ids, dtype=self.weight.dtype)
        else:
            counted = weights.to(self.weight.dtype)
        if self.padding_idx is not None:
            counted = counted.masked_fill(ids == self.padding_idx, 0.0)
        return counted


def divide_by_length(total: Tensor, indices: Tensor, padding: int, power: float) -> Tensor:
    """Divide sums of rows by a power of their number, which is taken for 1 in an empty list.

    Args:
        total: `[batch, dim]`.
        indices: Whose rows they are, `[batch, length]`.
        padding: The index that has no row.
        power: Of the number, one of `POWERS`.

    Example:
        >>> divide_by_length(torch.tensor([[6.0], [0.0]]), torch.tensor([[4, 0, 4], [0, 0, 0]]), 0, 1.0)
        tensor([[3.],
                [0.]])
    """
    length = (indices != padding).sum(1, keepdim=True).clamp(min=1).to(total.dtype)
    return total / length.pow(power)


def _divide_no_nan(total: Tensor, divisor: Tensor) -> Tensor:
    """Divide, 0 where the divisor is 0, in the gradients as well."""
    empty = divisor == 0
    return (total / divisor.masked_fill(empty, 1.0)).masked_fill(empty, 0.0)


def _safe_sqrt(x: Tensor) -> Tensor:
    """Square root whose gradient at 0 is 0."""
    empty = x == 0
    return x.masked_fill(empty, 1.0).sqrt().masked_fill(empty, 0.0)
