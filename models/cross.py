"""One layer of a Deep & Cross Network: explicit products of features."""

from torch import Tensor, nn

__all__ = ["Cross"]

# Keras's `truncated_normal`: redrawn beyond two standard deviations.
_STD = 0.05


class Cross(nn.Module):
    """Crosses features with each other: `x0 * (preactivation(W x + b) + diag_scale * x) + x`.

    TFRS's `layers.dcn.Cross` and Keras-RS's `FeatureCross`; equations 1 (full) and 2 (low rank) of DCN V2,
    https://arxiv.org/abs/2008.13535. Kernels start as TFRS's do: normal, standard deviation 0.05, cut off at
    0.1, with biases of zero. Keras-RS starts its kernels with `nn.init.xavier_uniform_`.

    Args:
        dim: Width of the features.
        projection_dim: Rank of `W = V U`, `U` without bias; `None` for a full matrix. Worth its while below
            `dim / 2`; TFRS's authors lost no accuracy with `dim / 4`.
        diag_scale: Added to the diagonal of `W`, after the activation; steadies the training of low ranks.
        use_bias: Whether there is `b`.
        preactivation: Applied to `W x + b`, such as `nn.Tanh()`.

    Raises:
        TypeError: `preactivation` is no module, such as a class or a function.
        ValueError: A width is below 1 or `diag_scale` below 0.
    """

    def __init__(
        self,
        dim: int,
        *,
        projection_dim: int | None = None,
        diag_scale: float = 0.0,
        use_bias: bool = True,
        preactivation: nn.Module | None = None,
    ) -> None:
        super().__init__()
        if dim < 1:
            raise ValueError(f"dim must be at least 1, got {dim}")
        if projection_dim is not None and projection_dim < 1:
            raise ValueError(
                f"projection_dim must be at least 1, or None for a full matrix, got {projection_dim}"
            )
        if diag_scale < 0:
            raise ValueError(f"diag_scale must be at least 0, got {diag_scale}")
        if preactivation is not None and not isinstance(preactivation, nn.Module):
            raise TypeError(f"preactivation has to be a module, such as nn.Tanh(), got {preactivation!r}")
        self.dim = dim
        self.diag_scale = diag_scale
        self.projection = _linear(dim, projection_dim, bias=False) if projection_dim else nn.Identity()
        self.linear = _linear(projection_dim or dim, dim, bias=use_bias)
        self.preactivation = nn.Identity() if preactivation is None else preactivation

    def forward(self, x0: Tensor, x: Tensor | None = None) -> Tensor:
        """Cross `x0` with `x`.

        Args:
            x0: `[batch, dim]`; the features that the first layer was given.
            x: `[batch, dim]`; the output of the layer before, `x0` if there was none.

        Returns:
            `[batch, dim]`.

        Raises:
            ValueError: A width is not `dim`.

        Example:
            >>> cross = Cross(3)
            >>> _ = nn.init.ones_(cross.linear.weight)
            >>> cross(torch.tensor([[0.1, 0.2, 0.3]]))
            tensor([[0.1600, 0.3200, 0.4800]], grad_fn=<AddBackward0>)
        """
        if x is None:
            x = x0
        if x0.size(-1) != self.dim or x.size(-1) != self.dim:
            raise ValueError(
                f"the layer crosses widths of {self.dim}, got x0 of {x0.size(-1)} and x of {x.size(-1)}"
            )
        product: Tensor = self.preactivation(self.linear(self.projection(x)))
        if self.diag_scale > 0:
            product = product + self.diag_scale * x
        # Not torch.addcmul, whose gradient multiplies twice as often.
        return x + x0 * product


def _linear(width: int, units: int, *, bias: bool) -> nn.Linear:
    linear = nn.Linear(width, units, bias=bias)
    nn.init.trunc_normal_(linear.weight, std=_STD, a=-2 * _STD, b=2 * _STD)
    if bias:
        nn.init.zeros_(linear.bias)
    return linear
