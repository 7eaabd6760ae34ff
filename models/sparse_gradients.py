"""Sparse gradients of tables: who has them, each row once, and norms that count them."""

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["clip_gradient_norm", "combine_rows", "sparse_modules"]


def sparse_modules(model: nn.Module) -> list[nn.Module]:
    """Give the modules whose own parameters get sparse gradients.

    These have an attribute `sparse` that is true, as have `torch.nn.Embedding(…, sparse=True)`,
    `TokenEmbedding` and `ListEmbedding`. A table of your own has to set it too.
    """
    return [module for module in model.modules() if getattr(module, "sparse", False) is True]


def combine_rows(gradient: Tensor) -> tuple[Tensor, Tensor]:
    """Sum what a sparse gradient holds for the same row.

    Gives what `Tensor.coalesce` does, to the bit, faster for many rows on a CPU.

    Args:
        gradient: Sparse COO of any shape, with one sparse dimension; rows may occur several times.

    Returns:
        The rows, int64 `[touched]`, ascending, and their values, `[touched, …]`.

    Raises:
        ValueError: The gradient has more than one sparse dimension.

    Example:
        >>> table = torch.nn.Embedding(4, 1, sparse=True)
        >>> (table(torch.tensor([2, 0, 2])) * torch.tensor([[1.0], [5.0], [2.0]])).sum().backward()
        >>> combine_rows(table.weight.grad)
        (tensor([0, 2]), tensor([[5.],
                [3.]]))
    """
    if gradient.sparse_dim() != 1:
        raise ValueError(f"a sparse gradient needs 1 sparse dimension, got {gradient.sparse_dim()}")
    rows, values = gradient._indices()[0], gradient._values()
    if gradient.is_coalesced() or not rows.numel():
        return rows, values
    rows, order = rows.sort()
    is_first = torch.ones_like(rows, dtype=torch.bool)
    torch.ne(rows[1:], rows[:-1], out=is_first[1:])
    first = is_first.nonzero().flatten()
    # Summing bags of rows is the one operation of torch that is fast here: it neither adds row by row through
    # its general iterator, as index_add does, nor copies the values into their order first.
    summed = F.embedding_bag(order, values.reshape(values.size(0), -1), first, mode="sum")
    return rows.index_select(0, first), summed.reshape(-1, *values.shape[1:])


def clip_gradient_norm(parameters: Iterable[Tensor], limit: float) -> Tensor:
    """Scale all gradients by one factor, so that their norm taken together is at most `limit`.

    As `torch.nn.utils.clip_grad_norm_`, which takes no sparse gradients. Those are combined first: rows that
    occur several times count as their sum.

    Args:
        parameters: Those without a gradient are left out.
        limit: The largest norm.

    Returns:
        The norm before, a scalar.

    Example:
        >>> weight = torch.nn.Parameter(torch.zeros(2))
        >>> weight.grad = torch.tensor([3.0, 4.0])
        >>> clip_gradient_norm([weight], 1.0)
        tensor(5.)
        >>> weight.grad
        tensor([0.6000, 0.8000])
    """
    values = []
    for parameter in parameters:
        gradient = parameter.grad
        if gradient is None:
            continue
        if gradient.is_sparse:
            rows, combined = combine_rows(gradient)
            parameter.grad = torch.sparse_coo_tensor(
                rows[None], combined, gradient.shape, is_coalesced=True, check_invariants=False
            )
            gradient = combined
        values.append(gradient)
    if not values:
        return torch.zeros(())
    norms = [
        torch.linalg.vector_norm(tensor, dtype=torch.promote_types(tensor.dtype, torch.float32))
        for tensor in values
    ]
    norm: Tensor = torch.linalg.vector_norm(torch.stack([each.to(norms[0].device) for each in norms]))
    factor = (limit / (norm + 1e-6)).clamp(max=1.0)
    for tensor in values:
        tensor.mul_(factor.to(tensor.device, tensor.dtype))
    return norm
