"""Towers: encoded features in, one embedding out."""

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from torchtowers.models.embeddings import TokenEmbedding

__all__ = ["PREFIX", "BiasedCandidateTower", "BiasedQueryTower", "Tower"]

# Of a feature's name in the tower's modules, and so in the names of its weights.
PREFIX = "feature_"


class Tower(nn.Module):
    """Embeds each feature, concatenates them and applies a multi-layer perceptron.

    Args:
        tables: By feature, a module that gives `[batch, width]`.
        width: The sum of the modules' widths.
        hidden: Widths of the hidden layers, each followed by a ReLU; may be empty.
        dim: The embedding's dimension.
        dropout: In training, of the concatenated features.
        normalize: Whether embeddings have length 1, so that dot products are cosines.
    """

    def __init__(
        self,
        tables: Mapping[str, nn.Module],
        *,
        width: int,
        hidden: Sequence[int],
        dim: int,
        dropout: float = 0.0,
        normalize: bool = True,
    ) -> None:
        super().__init__()
        # Prefixed, since a column may be called what a module is called already, such as `type` or `values`.
        self.tables = nn.ModuleDict({PREFIX + name: table for name, table in tables.items()})
        layers: list[nn.Module] = [nn.Dropout(dropout)]
        for units in hidden:
            layers += [nn.Linear(width, units), nn.ReLU()]
            width = units
        layers.append(nn.Linear(width, dim))
        self.layers = nn.Sequential(*layers)
        self.normalize = normalize
        self.prefix = len(PREFIX)

    def forward(self, features: dict[str, Tensor]) -> Tensor:
        """Embed a batch.

        Args:
            features: By feature, int64 `[batch]` or `[batch, length]`.

        Returns:
            `[batch, dim]`.
        """
        parts = []
        for name, table in self.tables.items():
            parts.append(table(features[name[self.prefix :]]))
        embeddings: Tensor = self.layers(torch.cat(parts, dim=1))
        if self.normalize:
            embeddings = F.normalize(embeddings, dim=-1)
        return embeddings


class BiasedQueryTower(nn.Module):
    """A query tower whose embeddings end in a constant 1, the counterpart of the candidates' bias."""

    def __init__(self, tower: Tower) -> None:
        super().__init__()
        self.tower = tower

    def forward(self, features: dict[str, Tensor]) -> Tensor:
        """Embed a batch; `[batch, dim + 1]`."""
        embeddings = self.tower(features)
        return torch.cat([embeddings, torch.ones_like(embeddings[:, :1])], dim=1)


class BiasedCandidateTower(nn.Module):
    """A candidate tower whose embeddings end in a learnt bias per item, so that a dot product adds it.

    Args:
        tower: Gives `[batch, dim]`.
        key: The feature that is the item's id.
        size: Rows of the id's table.
    """

    def __init__(self, tower: Tower, *, key: str, size: int) -> None:
        super().__init__()
        self.tower = tower
        self.bias = TokenEmbedding(size, 1, std=0.0)
        self.key = key

    def forward(self, features: dict[str, Tensor]) -> Tensor:
        """Embed a batch; `[batch, dim + 1]`."""
        return torch.cat([self.tower(features), self.bias(features[self.key])], dim=1)
