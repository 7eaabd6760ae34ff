"""SASRec's encoder of a sequence: causal self-attention over the items and their positions."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["SelfAttentiveEncoder"]


class SelfAttentiveEncoder(nn.Module):
    """Gives a state for each item of a sequence, of it and the items before.

    Items are scaled by the square root of `dim` and added to learnt positions; blocks of attention and
    point-wise layers follow, each as `x + dropout(layer(norm(x)))`, and a last norm. Positions count from
    the oldest item. Source: Kang & McAuley 2018, "Self-Attentive Sequential Recommendation".

    Args:
        dim: Width of the items' embeddings and of the states.
        max_length: Number of positions. Of a longer sequence only the last `max_length` items are seen.
        blocks: Number of blocks.
        heads: Of each attention; divides `dim`.
        dropout: In training, of embeddings, attention weights and each layer.

    Raises:
        ValueError: A size is below 1, or `heads` does not divide `dim`.
    """

    def __init__(
        self, dim: int, *, max_length: int, blocks: int = 2, heads: int = 1, dropout: float = 0.5
    ) -> None:
        super().__init__()
        if min(dim, max_length, blocks, heads) < 1:
            raise ValueError(
                "dim, max_length, blocks and heads must be at least 1, "
                f"got {dim}, {max_length}, {blocks} and {heads}"
            )
        if dim % heads:
            raise ValueError(f"heads must divide dim, got {heads} heads and dim {dim}")
        self.max_length = max_length
        self.scale = dim**0.5
        self.positions = nn.Parameter(torch.randn(max_length, dim) * 0.05)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(_Block(dim, heads, dropout) for _ in range(blocks))
        self.norm = nn.LayerNorm(dim)

    def forward(self, items: Tensor, present: Tensor) -> Tensor:
        """Encode.

        Args:
            items: Embeddings, oldest first, `[batch, length, dim]`.
            present: bool `[batch, length]`; False is padding, which may stand anywhere and changes nothing.

        Returns:
            `[batch, length, dim]`; what stands at padding, and before the last `max_length` items, has no
            meaning.

        Example:
            >>> encoder = SelfAttentiveEncoder(8, max_length=5, heads=2)
            >>> encoder(torch.ones(2, 3, 8), torch.ones(2, 3, dtype=torch.bool)).shape
            torch.Size([2, 3, 8])
        """
        number = present.long().cumsum(1)
        before = (number[:, -1:] - self.max_length).clamp(min=0)
        seen = present & (number > before)
        position = (number - before - 1).clamp(min=0)
        x = self.dropout(items * self.scale + F.embedding(position, self.positions))
        allowed = self._allowed(seen)
        for block in self.blocks:
            x = block(x, allowed)
        states: Tensor = self.norm(x)
        return states

    def _allowed(self, seen: Tensor) -> Tensor:
        """Give which place (row) may look at which (column), bool `[batch, 1, length, length]`."""
        place = torch.arange(seen.size(1), device=seen.device)
        earlier = place.unsqueeze(0) < place.unsqueeze(1)
        itself = place.unsqueeze(0) == place.unsqueeze(1)
        # Padding looks at itself, since attention to nothing is not a number.
        return ((earlier & seen.unsqueeze(1)) | itself).unsqueeze(1)


class _Block(nn.Module):
    """Attention, then two point-wise layers; both with norm before, dropout and residual after."""

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.attention_dropout = dropout
        self.attention_norm = nn.LayerNorm(dim)
        self.projections = nn.Linear(dim, 3 * dim, bias=False)
        self.feed_forward_norm = nn.LayerNorm(dim)
        self.feed_forward = nn.Sequential(
            nn.Linear(dim, dim), nn.ReLU(), nn.Dropout(dropout), nn.Linear(dim, dim)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, allowed: Tensor) -> Tensor:
        x = x + self.dropout(self._attend(self.attention_norm(x), allowed))
        y: Tensor = x + self.dropout(self.feed_forward(self.feed_forward_norm(x)))
        return y

    def _attend(self, x: Tensor, allowed: Tensor) -> Tensor:
        # [batch, length, 3, heads, width] to three of [batch, heads, length, width].
        split = self.projections(x).unflatten(-1, [3, self.heads, -1]).permute(2, 0, 3, 1, 4)
        dropout = self.attention_dropout if self.training else 0.0
        attended = F.scaled_dot_product_attention(split[0], split[1], split[2], allowed, dropout)
        return attended.transpose(1, 2).flatten(2)
