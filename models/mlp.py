"""Dense layers, one after the other."""

from collections.abc import Callable, Sequence
from functools import partial

from torch import Tensor, nn

__all__ = ["MLP"]

# In place, since a layer's output is not needed for its gradient, and a new block of memory is slow to touch.
_RELU = partial(nn.ReLU, inplace=True)


class MLP(nn.Module):
    """A multi-layer perceptron: TFRS's `layers.blocks.MLP`.

    Kernels start as Keras's do, Glorot uniform with biases of zero.

    Args:
        in_dim: Width of the input.
        units: Widths of the layers, the output's last.
        use_bias: Whether the layers have biases.
        activation: Makes the module after each layer but the last, as the class `nn.Tanh` does; a ReLU if not
            given, `None` for none.
        final_activation: The same for the last layer.
        dropout: In training, how often an output of a layer but the last is left out.

    Raises:
        TypeError: An activation makes no module, such as a name, a function, or a module itself, which the
            layers would have to share.
        ValueError: There is no layer, or a width is below 1.
    """

    def __init__(
        self,
        in_dim: int,
        units: Sequence[int],
        *,
        use_bias: bool = True,
        activation: Callable[[], nn.Module] | None = _RELU,
        final_activation: Callable[[], nn.Module] | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if not units:
            raise ValueError("units is empty: name the width of one layer at least")
        if min(in_dim, *units) < 1:
            raise ValueError(f"widths must be at least 1, got in_dim {in_dim} and units {list(units)}")
        _check_makes_module("activation", activation)
        _check_makes_module("final_activation", final_activation)
        layers: list[nn.Module] = []
        for position, (width, following) in enumerate(zip([in_dim, *units], units, strict=False), start=1):
            layers.append(_linear(width, following, bias=use_bias))
            after = activation if position < len(units) else final_activation
            if after is not None:
                layers.append(after())
            if dropout > 0 and position < len(units):
                layers.append(nn.Dropout(dropout))
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layers.

        Args:
            x: `[batch, in_dim]`; further dimensions in between are kept.

        Returns:
            `[batch, units[-1]]`.

        Example:
            >>> MLP(13, [64, 32, 1], final_activation=nn.Sigmoid)(torch.ones(4, 13)).shape
            torch.Size([4, 1])
        """
        y: Tensor = self.layers(x)
        return y


def _check_makes_module(name: str, make: Callable[[], nn.Module] | None) -> None:
    if make is None:
        return
    cause = None
    try:
        made = None if isinstance(make, nn.Module) else make()
    except TypeError as error:
        made, cause = None, error
    if not isinstance(made, nn.Module):
        raise TypeError(
            f"{name} has to make a module when called, such as nn.ReLU without brackets, got {make!r}"
        ) from cause


def _linear(width: int, units: int, *, bias: bool) -> nn.Linear:
    linear = nn.Linear(width, units, bias=bias)
    nn.init.xavier_uniform_(linear.weight)
    if bias:
        nn.init.zeros_(linear.bias)
    return linear
