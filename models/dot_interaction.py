"""Dot products of every pair of features."""

from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["DotInteraction"]


class DotInteraction(nn.Module):
    """Multiplies each feature with each one before it, as DLRM does.

    TFRS's and Keras-RS's `DotInteraction`; section 2.1.3 of https://arxiv.org/abs/1906.00091.

    Args:
        self_interaction: Whether each feature is multiplied with itself as well.
        skip_gather: Whether the other pairs stay in the output, as zeros.
    """

    def __init__(self, *, self_interaction: bool = False, skip_gather: bool = False) -> None:
        super().__init__()
        # Of the highest diagonal that counts.
        self.diagonal = 0 if self_interaction else -1
        self.skip_gather = skip_gather

    def forward(self, features: list[Tensor] | Tensor) -> Tensor:
        """Multiply every pair.

        Args:
            features: At least one, each `[batch, dim]`; or all of them as `[batch, features, dim]`, which
                saves a copy.

        Returns:
            The lower triangle of the matrix of products, row by row: `f2·f1, f3·f1, f3·f2, …`, with
            `self_interaction` `f1·f1, f2·f1, f2·f2, …`. For n features `[batch, n * (n - 1) / 2]`, with
            `self_interaction` `[batch, n * (n + 1) / 2]`, with `skip_gather` `[batch, n * n]`.

        Raises:
            ValueError: There is no feature, or they differ in shape.

        Example:
            >>> user, item, hour = torch.tensor([[[1.0, 2.0]], [[3.0, 0.0]], [[0.0, 1.0]]])
            >>> DotInteraction()([user, item, hour])
            tensor([[3., 2., 0.]])
        """
        stacked = _stack(features)
        if self.skip_gather:
            products = torch.bmm(stacked, stacked.transpose(1, 2))
            return torch.tril(products, self.diagonal).flatten(1)
        count = stacked.size(1)
        rows, columns = torch.tril_indices(count, count, self.diagonal, device=stacked.device).unbind(0)
        places = rows * count + columns
        if not torch.jit.is_scripting() and not _is_traced():  # type: ignore[attr-defined]
            return _multiply_pairs(stacked, places, columns * count + rows)
        return torch.bmm(stacked, stacked.transpose(1, 2)).flatten(1).index_select(1, places)


def _stack(features: list[Tensor] | Tensor) -> Tensor:
    if isinstance(features, Tensor):
        if features.dim() != 3 or features.size(1) == 0:
            raise ValueError(
                f"features must be [batch, features, dim], at least one, got {list(features.shape)}"
            )
        return features
    _check(features)
    return torch.stack(features, dim=1)


@torch.jit.unused
def _is_traced() -> bool:
    """Tell whether the single operations have to be seen, by a compiler or by `torch.func`."""
    return torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active()


@torch.jit.unused
def _multiply_pairs(stacked: Tensor, places: Tensor, mirrored: Tensor) -> Tensor:
    result: Tensor = _Pairs.apply(stacked, places, mirrored)  # type: ignore[no-untyped-call]
    return result


class _Pairs(torch.autograd.Function):
    """Products of pairs whose gradient takes one matrix product, where autograd would take two."""

    @staticmethod
    def forward(ctx: Any, stacked: Tensor, places: Tensor, mirrored: Tensor) -> Tensor:
        ctx.save_for_backward(stacked, places, mirrored)
        return torch.bmm(stacked, stacked.transpose(1, 2)).flatten(1).index_select(1, places)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        stacked, places, mirrored = ctx.saved_tensors
        batch, count = stacked.size(0), stacked.size(1)
        # Where each product's gradient comes from; those that are not taken have the column of zeros.
        source = torch.full((count * count,), places.numel(), device=places.device)
        source[places] = source[mirrored] = torch.arange(places.numel(), device=places.device)
        padded = torch.cat([gradient, gradient.new_zeros(batch, 1)], dim=1)
        symmetric = padded.gather(1, source.expand(batch, -1)).view(batch, count, count)
        # A square's gradient counts twice: by its row and by its column.
        symmetric.diagonal(dim1=1, dim2=2).mul_(2)
        # Under autocast the products, and so their gradients, are of another type.
        return torch.bmm(symmetric.to(stacked.dtype), stacked), None, None


def _check(features: list[Tensor]) -> None:
    if len(features) == 0:
        raise ValueError("got no features to multiply: give at least one [batch, dim]")
    for position, feature in enumerate(features):
        if feature.dim() != 2 or feature.shape != features[0].shape:
            raise ValueError(
                "features must all be [batch, dim] of one shape: "
                f"the first is {list(features[0].shape)}, number {position + 1} is {list(feature.shape)}"
            )
