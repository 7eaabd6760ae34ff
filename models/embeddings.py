"""Embedding tables for single indices and for lists of them."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from torchtowers.handlers.encoders import MISSING, UNKNOWN
from torchtowers.models.embed_reduce import POWERS, divide_by_length

__all__ = ["ListEmbedding", "Table", "TokenEmbedding", "WeightedListEmbedding", "pooled_sum"]

# Above this many entries the matrix of counts costs more than it saves.
_COUNTS_LIMIT = 32_000_000
# Below it float32 loses precision; a weight that is smaller counts for nothing.
_LEAST = 1e-30


class Table(nn.Module):
    """What embeddings have in common: a row for each index, that of a missing value being zero.

    Args:
        size: Rows of the table.
        dim: Its width.
        std: Standard deviation of the initial values.
    """

    # Its gradient is sparse; the optimizers of training go by this.
    sparse = True

    scale: Tensor | None

    def __init__(self, size: int, dim: int, std: float) -> None:
        super().__init__()
        self.padding = MISSING
        self.is_stored = False
        self.weight: Tensor = nn.Parameter(_initial(size, dim, std))
        self.register_buffer("scale", None)

    @torch.jit.unused
    def store(self, values: Tensor, scale: Tensor | None) -> None:
        """Keep other values in the weight's place, such as smaller ones; the table is not for training then.

        Args:
            values: Of any type, `[size, dim]`.
            scale: What multiplies each row when it is looked up, float32 `[size, 1]`.
        """
        del self.weight
        self.register_buffer("weight", values)
        self.scale = scale
        self.is_stored = True

    def rows(self, indices: Tensor) -> Tensor:
        """Look up; int64 `[...]` to `[..., dim]`."""
        rows = F.embedding(indices, self.weight, padding_idx=self.padding, sparse=True)
        if self.is_stored:
            rows = rows.float()
        scale = self.scale  # a local name, as TorchScript narrows no attribute's type
        if scale is not None:
            rows = rows * F.embedding(indices, scale)
        return rows


class TokenEmbedding(Table):
    """One row of a table for each index; a missing value has the zero vector.

    Args:
        size: Rows of the table.
        dim: Its width.
        unknown_rate: In training, how often an index is replaced by that of unknown tokens, so that their
            row is learnt and a user or item never seen before is answered from its other features.
        std: Standard deviation of the initial values.
    """

    def __init__(self, size: int, dim: int, *, unknown_rate: float = 0.0, std: float = 0.05) -> None:
        super().__init__(size, dim, std)
        self.unknown_rate = unknown_rate
        self.unknown = UNKNOWN

    def forward(self, indices: Tensor) -> Tensor:
        """Look up.

        Args:
            indices: int64 `[batch]`.

        Returns:
            `[batch, dim]`.
        """
        if self.training and self.unknown_rate > 0:
            replaced = torch.rand(indices.shape) < self.unknown_rate
            indices = indices.masked_fill(replaced.to(indices.device), self.unknown)
        return self.rows(indices)


class ListEmbedding(Table):
    """The pooled rows of a list of indices; an empty list has the zero vector.

    Args:
        size: Rows of the table.
        dim: Its width.
        pooling: `mean`, or `sqrtn`: the sum divided by the square root of the list's length.
        token_dropout: In training, how often one index is left out.
        list_dropout: In training, how often a whole list is left out, so that an answer without it is learnt.
        std: Standard deviation of the initial values.
    """

    def __init__(
        self,
        size: int,
        dim: int,
        *,
        pooling: Literal["mean", "sqrtn"] = "mean",
        token_dropout: float = 0.0,
        list_dropout: float = 0.0,
        std: float = 0.05,
    ) -> None:
        super().__init__(size, dim, std)
        self.power = POWERS[pooling]
        self.token_dropout = token_dropout
        self.list_dropout = list_dropout

    def forward(self, indices: Tensor) -> Tensor:
        """Look up and pool.

        Args:
            indices: int64 `[batch, length]`, padded with 0 anywhere.

        Returns:
            `[batch, dim]`.
        """
        if self.training:
            indices = dropped(indices, self.token_dropout, self.list_dropout, self.padding)
            total = pooled_sum(indices, self.weight)
        elif not self.is_stored and not torch.jit.is_scripting() and not _is_traced():  # type: ignore[attr-defined]
            # Measuring after each epoch took longer than the epoch: memory for every element of every list.
            total = pooled_sum(indices, self.weight)
        else:
            rows = self.rows(indices)
            # As a product: it writes no second copy of all rows, as the product with a mask would.
            counted = (indices != self.padding).to(rows.dtype)
            total = torch.matmul(counted.unsqueeze(1), rows).squeeze(1)
        return divide_by_length(total, indices, self.padding, self.power)


class WeightedListEmbedding(Table):
    """The weighted mean of the rows of a list of indices; an empty list has the zero vector.

    Args:
        size: Rows of the table.
        dim: Its width.
        token_dropout: In training, how often one index is left out.
        list_dropout: In training, how often a whole list is left out, so that an answer without it is learnt.
        std: Standard deviation of the initial values.
    """

    def __init__(
        self,
        size: int,
        dim: int,
        *,
        token_dropout: float = 0.0,
        list_dropout: float = 0.0,
        std: float = 0.05,
    ) -> None:
        super().__init__(size, dim, std)
        self.token_dropout = token_dropout
        self.list_dropout = list_dropout
        self.least = _LEAST

    def forward(self, indices: Tensor, weights: Tensor) -> Tensor:
        """Look up and pool: the sum of weights times rows, divided by the sum of the weights' sizes.

        Args:
            indices: int64 `[batch, length]`, padded with 0 anywhere.
            weights: float32 `[batch, length]`; those of padding are passed over.

        Returns:
            `[batch, dim]`.
        """
        if self.training:
            indices = dropped(indices, self.token_dropout, self.list_dropout, self.padding)
        rows = self.rows(indices)
        weights = weights.to(rows.dtype).masked_fill(indices == self.padding, 0.0)
        # By the largest first, since the sum of weights may be too large, and one of them too small a number.
        weights = weights / weights.abs().amax(1, keepdim=True).clamp(min=self.least)
        weights = weights / weights.abs().sum(1, keepdim=True).clamp(min=self.least)
        return torch.matmul(weights.unsqueeze(1), rows).squeeze(1)


@torch.jit.unused  # an exported tower does not train
def dropped(indices: Tensor, token_rate: float, list_rate: float, padding: int) -> Tensor:
    """Leave out single indices and whole lists at random.

    Args:
        indices: int64 `[batch, length]`.
        token_rate: How often an index becomes padding.
        list_rate: How often all of a row do.
        padding: The index for it.
    """
    if token_rate > 0:
        chosen = torch.rand(indices.shape) < token_rate
        indices = indices.masked_fill(chosen.to(indices.device), padding)
    if list_rate > 0:
        chosen = torch.rand((indices.size(0), 1)) < list_rate
        indices = indices.masked_fill(chosen.to(indices.device), padding)
    return indices


@torch.jit.unused  # an exported tower does not train
def pooled_sum(indices: Tensor, weight: Tensor) -> Tensor:
    """Sum the rows of `weight` over each list, with a sparse gradient; index 0 adds nothing.

    Where the batch names few distinct rows, a matrix of counts times these rows is several times faster than
    scattering a gradient for every element of every list.

    Args:
        indices: int64 `[batch, length]`.
        weight: `[size, dim]`.

    Returns:
        `[batch, dim]`.
    """
    named = torch.zeros(weight.size(0), dtype=torch.bool, device=indices.device)
    named[indices.flatten()] = True
    named[MISSING] = False
    rows = named.nonzero().flatten()
    if rows.numel() * indices.size(0) > _COUNTS_LIMIT:
        return F.embedding_bag(indices, weight, mode="sum", sparse=True, padding_idx=MISSING)
    # Padding goes to a last column of its own, which is cut off.
    column = torch.full((weight.size(0),), rows.numel(), dtype=torch.int64, device=indices.device)
    column[rows] = torch.arange(rows.numel(), device=indices.device)
    counts = torch.zeros(indices.size(0), rows.numel() + 1, dtype=weight.dtype, device=weight.device)
    counts.scatter_add_(1, column[indices], torch.ones_like(indices, dtype=weight.dtype))
    return counts[:, :-1] @ F.embedding(rows, weight, sparse=True)


@torch.jit.unused
def _is_traced() -> bool:
    """Tell whether the single operations have to be seen, by a compiler or an exporter."""
    tracing: bool = torch.jit.is_tracing()  # type: ignore[attr-defined,no-untyped-call]
    return torch.compiler.is_compiling() or tracing


def _initial(size: int, dim: int, std: float) -> Tensor:
    weight = torch.randn(size, dim) * std
    weight[MISSING] = 0.0
    return weight
