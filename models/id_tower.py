"""A tower that is a table: the id's row is the embedding."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from torchtowers.models.embeddings import TokenEmbedding

__all__ = ["IdTower"]


class IdTower(nn.Module):
    """Embeds an id by a table, which may be part of another tower too.

    Args:
        table: Of the ids.
        key: The feature that is the id; others are not looked at.
        normalize: Whether embeddings have length 1.
        bias: Whether they end in a learnt bias of each id, behind what is normalised.
    """

    def __init__(
        self, table: TokenEmbedding, *, key: str, normalize: bool = False, bias: bool = False
    ) -> None:
        super().__init__()
        self.table = table
        self.key = key
        self.normalize = normalize
        self.bias = TokenEmbedding(table.weight.size(0), 1, std=0.0) if bias else None

    def forward(self, features: dict[str, Tensor]) -> Tensor:
        """Embed a batch; int64 `[batch]` to `[batch, dim]`, with a bias to `[batch, dim + 1]`."""
        embeddings: Tensor = self.table(features[self.key])
        if self.normalize:
            embeddings = F.normalize(embeddings, dim=-1)
        if self.bias is not None:
            embeddings = torch.cat([embeddings, self.bias(features[self.key])], dim=-1)
        return embeddings
