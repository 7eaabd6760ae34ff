"""A tower that is a table: the id's row is the embedding."""

from torch import Tensor, nn

from torchtowers.models.embeddings import TokenEmbedding

__all__ = ["IdTower"]


class IdTower(nn.Module):
    """Embeds an id by a table, which may be part of another tower too.

    Args:
        table: Of the ids.
        key: The feature that is the id; others are not looked at.
    """

    def __init__(self, table: TokenEmbedding, *, key: str) -> None:
        super().__init__()
        self.table = table
        self.key = key

    def forward(self, features: dict[str, Tensor]) -> Tensor:
        """Embed a batch; int64 `[batch]` to `[batch, dim]`."""
        embeddings: Tensor = self.table(features[self.key])
        return embeddings
