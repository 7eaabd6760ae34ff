"""A feature of whatever kind as an embedding, from the tensors that its encoder gives."""

import math
from collections.abc import Mapping
from typing import Literal

from torch import Tensor, nn

from torchtowers.handlers.encoders import DenseEncoder, Encoder, UnifiedTokenEncoder, WeightedListEncoder
from torchtowers.models.embeddings import ListEmbedding, TokenEmbedding, WeightedListEmbedding
from torchtowers.models.mlp import MLP
from torchtowers.models.unified_embedding import UnifiedEmbedding

__all__ = ["FeatureEmbedding", "build_feature_embedding", "share_tables"]


class FeatureEmbedding(nn.Module):
    """Takes a feature's tensor from all of them, and embeds it.

    Args:
        name: The tensor's.
        table: Gives `[batch, dim]` from it.
    """

    def __init__(self, name: str, table: nn.Module) -> None:
        super().__init__()
        self.name = name
        self.table = table

    def forward(self, features: dict[str, Tensor]) -> Tensor:
        """Embed a batch; `[batch, dim]`."""
        embedded: Tensor = self.table(features[self.name])
        return embedded


class WeightedFeatureEmbedding(nn.Module):
    """Takes a feature's list and its weights from all tensors, and embeds it.

    Args:
        name: The list's; the weights' has `.weight` behind it.
        table: Gives `[batch, dim]` from both.
    """

    def __init__(self, name: str, table: WeightedListEmbedding) -> None:
        super().__init__()
        self.name = name
        self.weights = name + ".weight"
        self.table = table

    def forward(self, features: dict[str, Tensor]) -> Tensor:
        """Embed a batch; `[batch, dim]`."""
        embedded: Tensor = self.table(features[self.name], features[self.weights])
        return embedded


class UnifiedFeatureEmbedding(nn.Module):
    """Takes a feature's fingerprints from all tensors, and embeds them by a table that features share.

    Args:
        name: The tensor's.
        buckets: Rows of the table.
        hashes: Rows that make up one embedding.
        dim: The embedding's width; of the last row, what is over is cut off.
        std: Standard deviation of the table's initial values.
    """

    def __init__(self, name: str, *, buckets: int, hashes: int, dim: int, std: float) -> None:
        super().__init__()
        self.name = name
        self.dim = dim
        self.table = UnifiedEmbedding({name: hashes}, buckets=buckets, dim=math.ceil(dim / hashes), std=std)

    def forward(self, features: dict[str, Tensor]) -> Tensor:
        """Embed a batch; `[batch, dim]`."""
        embedded: list[Tensor] = self.table({self.name: features[self.name]})
        return embedded[0][:, : self.dim]


def build_feature_embedding(
    encoder: Encoder,
    name: str,
    dim: int,
    *,
    pooling: Literal["mean", "sqrtn"] = "mean",
    unknown_rate: float = 0.0,
    token_dropout: float = 0.0,
    list_dropout: float = 0.0,
    std: float = 0.05,
) -> nn.Module:
    """Build what embeds a feature: a table for indices, layers for numbers.

    Args:
        encoder: Tells the kind, and a table's size.
        name: The feature's.
        dim: The embedding's width.
        pooling: Of lists, `mean` or `sqrtn`.
        unknown_rate: In training, how often one id is taken for unknown.
        token_dropout: In training, how often an element of a list is left out.
        list_dropout: In training, how often a whole list is.
        std: Standard deviation of a table's initial values.

    Returns:
        A module that takes all features by tensor and gives `[batch, dim]`.

    Example:
        >>> from torchtowers.handlers.encoders import NumberEncoder
        >>> embed = build_feature_embedding(NumberEncoder("log", 2.0, 1.0), "price", 8)
        >>> embed({"price": torch.tensor([[0.5, 0.0], [0.0, 1.0]])}).shape
        torch.Size([2, 8])
    """
    if isinstance(encoder, DenseEncoder):
        # One layer gives a straight line; what comes behind may have none of its own.
        hidden = [dim] if dim > 1 else []
        return FeatureEmbedding(name, MLP(encoder.width, [*hidden, dim]))
    if isinstance(encoder, UnifiedTokenEncoder):
        return UnifiedFeatureEmbedding(name, buckets=encoder.buckets, hashes=encoder.hashes, dim=dim, std=std)
    if isinstance(encoder, WeightedListEncoder):
        weighted = WeightedListEmbedding(
            encoder.size, dim, token_dropout=token_dropout, list_dropout=list_dropout, std=std
        )
        return WeightedFeatureEmbedding(name, weighted)
    if encoder.tensors[0].is_ragged:
        return FeatureEmbedding(
            name,
            ListEmbedding(
                encoder.size,
                dim,
                pooling=pooling,
                token_dropout=token_dropout,
                list_dropout=list_dropout,
                std=std,
            ),
        )
    return FeatureEmbedding(name, TokenEmbedding(encoder.size, dim, unknown_rate=unknown_rate, std=std))


def share_tables(embeddings: Mapping[str, nn.Module], share: Mapping[str, str]) -> None:
    """Let features use the tables of others, and all unified features of the same width one table.

    Args:
        embeddings: By feature, as `build_feature_embedding` gives them; changed in place.
        share: By feature, the one whose table it uses.

    Raises:
        ValueError: A feature is not there, or the tables are of different sizes.

    Example:
        >>> from torchtowers.handlers.encoders import TokenEncoder, TokenListEncoder, Vocabulary
        >>> items = Vocabulary(["a", "b"])
        >>> embeddings = {
        ...     "item": build_feature_embedding(TokenEncoder(items), "item", 4),
        ...     "history": build_feature_embedding(TokenListEncoder(items, 9), "history", 4),
        ... }
        >>> share_tables(embeddings, {"history": "item"})
        >>> embeddings["history"].table.weight is embeddings["item"].table.weight
        True
    """
    for name, other in share.items():
        if name in embeddings and other in embeddings:
            _tie(name, _holder(embeddings[name]), other, _holder(embeddings[other]))
        elif name in embeddings:
            raise ValueError(f"{name} shares the table of {other}, which is no feature of this model")
    unified = [
        (name, module.table.table)
        for name, module in embeddings.items()
        if isinstance(module, UnifiedFeatureEmbedding)
    ]
    for name, table in unified[1:]:
        _tie(name, table, *unified[0])


def _holder(module: nn.Module) -> nn.Module:
    table = module.table
    if not isinstance(table, TokenEmbedding | ListEmbedding | WeightedListEmbedding):
        raise ValueError(f"a {type(module).__name__} has no table that could be shared")
    return table


def _tie(name: str, table: nn.Module, other: str, owner: nn.Module) -> None:
    mine, theirs = table.weight, owner.weight
    if not isinstance(mine, Tensor) or not isinstance(theirs, Tensor) or mine.shape != theirs.shape:
        sizes = [list(weight.shape) if isinstance(weight, Tensor) else None for weight in (mine, theirs)]
        raise ValueError(
            f"{name} and {other} can't share a table, since theirs are of {sizes[0]} and {sizes[1]} values: "
            "give both the same vocabulary, or the same buckets and hashes"
        )
    table.weight = owner.weight
