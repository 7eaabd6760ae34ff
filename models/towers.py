"""Towers: encoded features in, one embedding out."""

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["PREFIX", "BiasedCandidateTower", "BiasedQueryTower", "Tower"]

# Of a feature's name in the tower's modules, and so in the names of its weights.
PREFIX = "feature_"


class Tower(nn.Module):
    """Embeds each feature, concatenates them and applies a multi-layer perceptron.

    Args:
        tables: By feature, a module that takes all features by tensor and gives `[batch, width]`.
        width: The sum of the modules' widths.
        hidden: Widths of the hidden layers, each followed by a ReLU; may be empty.
        dim: The embedding's dimension.
        dropout: In training, of the concatenated features.
        normalize: Whether embeddings have length 1, so that dot products are cosines.
        summed: Whether the features, each `dim` wide, are summed, in place of concatenation and layers; takes
            no `hidden`. A linear layer could do no more with tables that are learnt.
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
        summed: bool = False,
    ) -> None:
        super().__init__()
        if summed and (hidden or width != dim * len(tables)):
            raise ValueError(
                f"features that are summed have the embedding's width, {dim}, and no hidden layers; got "
                f"{len(tables)} features of together {width}, and {len(hidden)} hidden layers"
            )
        # Prefixed, since a column may be called what a module is called already, such as `type` or `values`.
        self.tables = nn.ModuleDict({PREFIX + name: table for name, table in tables.items()})
        layers: list[nn.Module] = [nn.Dropout(dropout)]
        for units in hidden:
            layers += [nn.Linear(width, units), nn.ReLU()]
            width = units
        self.summed = summed
        if not summed:
            layers.append(nn.Linear(width, dim))
        self.layers = nn.Sequential(*layers)
        self.normalize = normalize

    def forward(self, features: dict[str, Tensor]) -> Tensor:
        """Embed a batch.

        Args:
            features: By tensor, int64 `[batch]` or `[batch, length]`, or float32.

        Returns:
            `[batch, dim]`.
        """
        parts = []
        for table in self.tables.values():
            parts.append(table(features))  # noqa: PERF401 - scripted, where a list is no generator
        joined = torch.stack(parts).sum(0) if self.summed else torch.cat(parts, dim=1)
        embeddings: Tensor = self.layers(joined)
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
        bias: Gives `[batch, 1]` from all features by tensor.
    """

    def __init__(self, tower: Tower, bias: nn.Module) -> None:
        super().__init__()
        self.tower = tower
        self.bias = bias

    def forward(self, features: dict[str, Tensor]) -> Tensor:
        """Embed a batch; `[batch, dim + 1]`."""
        return torch.cat([self.tower(features), self.bias(features)], dim=1)
