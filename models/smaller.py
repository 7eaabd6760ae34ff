"""A model with its weights kept as float16 or int8: what it computes is float32 still.

Tables of embeddings and linear layers are made smaller, which is nearly all of a model; biases, norms and
recurrent layers stay as they are. A value is made float32 where it is used, a table's after it was looked up.
"""

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from torchtowers.models.embeddings import Table

__all__ = ["SMALLER", "smaller"]

SMALLER = ("float16", "int8")

_LARGEST = 127


class SmallerLinear(nn.Module):
    """A linear layer of a smaller weight.

    Args:
        layer: What it is made of.
        dtype: Of `SMALLER`.
    """

    weight: Tensor
    scale: Tensor | None
    bias: Tensor | None

    def __init__(self, layer: nn.Linear, dtype: str) -> None:
        super().__init__()
        values, scale = _smaller(layer.weight, dtype)
        self.register_buffer("weight", values)
        self.register_buffer("scale", None if scale is None else scale.squeeze(1))
        self.register_buffer("bias", None if layer.bias is None else layer.bias.detach())

    def forward(self, inputs: Tensor) -> Tensor:
        """Give `[..., out]` of `[..., in]`."""
        scale, bias = self.scale, self.bias  # local names, as TorchScript narrows no attribute's type
        outputs = F.linear(inputs, self.weight.to(inputs.dtype))
        if scale is not None:
            # Each output has a scale, so that the weight itself need not be multiplied.
            outputs = outputs * scale
        if bias is not None:
            outputs = outputs + bias
        return outputs


def smaller(model: nn.Module, dtype: str) -> nn.Module:
    """Copy a model with smaller weights; a table that two modules share is shared by the copies, too.

    An int8 row, of a table or of a layer's weight, has the scale at which its largest value is 127.

    Args:
        model: Any model of this package.
        dtype: Of `SMALLER`.

    Raises:
        ValueError: The dtype is unknown, a weight is not finite, or one is beyond float16.

    Example:
        >>> from torchtowers.models.embeddings import TokenEmbedding
        >>> table = smaller(TokenEmbedding(100, 8), "int8")
        >>> table.weight.dtype, table(torch.tensor([2, 3])).dtype
        (torch.int8, torch.float32)
    """
    if dtype not in SMALLER:
        raise ValueError(f"weights: expected one of {', '.join(SMALLER)}, got {dtype!r}")
    copied = copy.deepcopy(model).eval().requires_grad_(False)
    made: dict[int, tuple[Tensor, Tensor | None]] = {}
    for module in list(copied.modules()):
        if isinstance(module, Table):
            weight = module.weight
            if id(weight) not in made:
                made[id(weight)] = _smaller(weight, dtype)
            module.store(*made[id(weight)])
        for name, child in module.named_children():
            if isinstance(child, nn.Linear):
                setattr(module, name, SmallerLinear(child, dtype))
    return SmallerLinear(copied, dtype) if isinstance(copied, nn.Linear) else copied


def _smaller(weight: Tensor, dtype: str) -> tuple[Tensor, Tensor | None]:
    """Give the values, and of int8 the rows' scales `[rows, 1]`."""
    weight = weight.detach()
    largest = weight.abs().amax(dim=1, keepdim=True)
    if not largest.isfinite().all():
        raise ValueError("a weight is not finite: train again with lower learning rates")
    if dtype == "float16":
        if largest.max() > torch.finfo(torch.float16).max:
            raise ValueError(f"a weight of {float(largest.max()):.3g} is beyond float16: choose int8")
        return weight.half(), None
    scale = largest / _LARGEST
    steps = (weight / scale.masked_fill(scale == 0, 1.0)).round().clamp(-_LARGEST, _LARGEST)
    return steps.to(torch.int8), scale
