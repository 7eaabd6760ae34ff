"""A stack of low-rank cross layers."""

from torch import Tensor, nn

from torchtowers.models.cross import Cross

__all__ = ["MultiLayerDCN"]


class MultiLayerDCN(nn.Module):
    """Crosses the features with the output of the layer before, several times over.

    TFRS's `layers.feature_interaction.MultiLayerDCN`: each layer is `x0 * (V (U x) + b) + x`. For full
    matrices, activations or a scaled diagonal, stack `Cross` layers.

    Args:
        dim: Width of the features.
        projection_dim: Rank of each layer's matrix.
        num_layers: Layers; the output has products of up to `num_layers + 1` features.
        use_bias: Whether each layer has a bias.

    Raises:
        ValueError: A width or the number of layers is below 1.
    """

    def __init__(
        self, dim: int, *, projection_dim: int = 1, num_layers: int = 3, use_bias: bool = True
    ) -> None:
        super().__init__()
        if num_layers < 1:
            raise ValueError(f"num_layers must be at least 1, got {num_layers}")
        self.layers = nn.ModuleList(
            Cross(dim, projection_dim=projection_dim, use_bias=use_bias) for _ in range(num_layers)
        )

    def forward(self, x0: Tensor) -> Tensor:
        """Cross a batch.

        Args:
            x0: `[batch, dim]`.

        Returns:
            `[batch, dim]`.

        Raises:
            ValueError: The width is not `dim`.

        Example:
            >>> MultiLayerDCN(6, projection_dim=2)(torch.ones(4, 6)).shape
            torch.Size([4, 6])
        """
        x = x0
        for layer in self.layers:
            x = layer(x0, x)
        return x
