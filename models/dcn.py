"""Deep & Cross Network, version 2: cross layers over all embedded features at once."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from torchtowers.models.cross import Cross
from torchtowers.models.embed_reduce import Combiner
from torchtowers.models.mlp import MLP
from torchtowers.models.ranking import Ranking
from torchtowers.models.ranking_model import RankingModel, check_takes_scores
from torchtowers.models.stacked_embedding import StackedEmbedding

__all__ = ["CrossNetwork", "build_dcn"]


class CrossNetwork(nn.Module):
    """Concatenates features and crosses them layer by layer, with a deep network beside if wanted.

    Args:
        dim: Of the concatenated features.
        num_layers: Cross layers.
        projection_dim: Rank of their matrices; `None` for full ones.
        diag_scale: Added to the diagonal of their matrices.
        deep: Widths of a deep network on the same input, whose output comes behind that of the cross layers:
            the parallel structure. Empty for none: the stacked structure, whose deep network are the layers
            that follow.

    Raises:
        ValueError: A number is out of range.
    """

    def __init__(
        self,
        dim: int,
        *,
        num_layers: int = 3,
        projection_dim: int | None = None,
        diag_scale: float = 0.0,
        deep: Sequence[int] = (),
    ) -> None:
        super().__init__()
        if num_layers < 1:
            raise ValueError(f"num_layers must be at least 1, got {num_layers}")
        self.layers = nn.ModuleList(
            Cross(dim, projection_dim=projection_dim, diag_scale=diag_scale) for _ in range(num_layers)
        )
        self.deep = MLP(dim, deep, final_activation=nn.ReLU) if deep else None

    def forward(self, features: Tensor) -> Tensor:
        """Cross.

        Args:
            features: `[batch, features, width]`; `dim` is features times width.

        Returns:
            `[batch, dim]`, or `[batch, dim + deep[-1]]`.

        Example:
            >>> CrossNetwork(12, deep=[6])(torch.randn(5, 3, 4)).shape
            torch.Size([5, 18])
        """
        x0 = features.flatten(1)
        x = x0
        for layer in self.layers:
            x = layer(x0, x)
        if self.deep is None:
            crossed: Tensor = x
            return crossed
        return torch.cat([x, self.deep(x0)], dim=1)


def build_dcn(
    sizes: Mapping[str, int],
    *,
    dense_dim: int = 0,
    dense: str = "dense",
    embedding_dim: int = 16,
    bottom_hidden: Sequence[int] = (256, 64),
    num_layers: int = 3,
    projection_dim: int | None = None,
    diag_scale: float = 0.0,
    deep_hidden: Sequence[int] = (512, 256),
    parallel: bool = False,
    combiner: Combiner = "mean",
    concat_dense: bool = True,
    activation: nn.Module | None = None,
    task: Ranking | None = None,
) -> RankingModel:
    """Build a DCN V2 (Wang et al. 2021, https://arxiv.org/abs/2008.13535).

    Args:
        sizes: By categorical feature, the rows of its table: its encoder's `size`.
        dense_dim: Number of dense features; 0 if there are none.
        dense: The name that they come under, float `[batch, dense_dim]`.
        embedding_dim: Width of the tables and of what the dense features become.
        bottom_hidden: Widths of the layers between the dense features and that.
        num_layers: Cross layers.
        projection_dim: Rank of their matrices, worth its while below half of the features' joint width;
            `None` for full ones.
        diag_scale: Added to the diagonal of their matrices.
        deep_hidden: Widths of the deep network's layers.
        parallel: Whether the deep network stands beside the cross layers, with one linear layer over both,
            instead of behind them.
        combiner: Of features that are lists.
        concat_dense: Whether the layers after the interaction see the dense features beside it, as in TFRS.
        activation: From the score to the prediction. If not given, the sigmoid where the task is
            cross-entropy of logits, and none elsewhere.
        task: Takes labels and scores; cross-entropy of logits if not given. For ratings
            `Ranking(MeanSquaredError())`.

    Raises:
        ValueError: A number is out of range, the parallel deep network has no layer, or the task takes
            probabilities.

    Example:
        >>> model = build_dcn({"user": 943, "item": 1682}, projection_dim=8)
        >>> model({"user": torch.tensor([7, 8]), "item": torch.tensor([9, 10])}).shape
        torch.Size([2])
    """
    if parallel and not deep_hidden:
        raise ValueError("deep_hidden is empty: the parallel structure needs one layer at least")
    check_takes_scores(task)
    bottom = MLP(dense_dim, [*bottom_hidden, embedding_dim], final_activation=nn.ReLU) if dense_dim else None
    dim = embedding_dim * (len(sizes) + (1 if dense_dim else 0))
    network = CrossNetwork(
        dim,
        num_layers=num_layers,
        projection_dim=projection_dim,
        diag_scale=diag_scale,
        deep=deep_hidden if parallel else (),
    )
    width = dim + (deep_hidden[-1] if parallel else 0)
    if dense_dim and concat_dense:
        width += embedding_dim
    return RankingModel(
        StackedEmbedding(sizes, embedding_dim, combiner=combiner),
        network,
        MLP(width, [1] if parallel else [*deep_hidden, 1]),
        bottom=bottom,
        dense=dense,
        concat_dense=concat_dense,
        activation=activation,
        task=task,
    )
