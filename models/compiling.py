"""torch.compile for training, around what it can't translate."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from torchtowers.models.sparse_gradients import sparse_modules

__all__ = ["compiled"]


@contextmanager
def compiled(model: nn.Module, compute_loss: Callable[[Any], Tensor]) -> Iterator[Callable[[Any], Tensor]]:
    """Give the compiled computation of a model's loss, and leave the model as it was afterwards.

    Lookups with sparse gradients run as they are: the compiler can't translate these gradients, and takes ten
    times longer to find out than to compile the rest.

    Args:
        model: Whose modules are left out where they have sparse gradients.
        compute_loss: Of the model.
    """
    tables = sparse_modules(model)
    for table in tables:
        table.forward = torch.compiler.disable(table.forward)  # type: ignore[no-untyped-call]
    try:
        with warnings.catch_warnings():
            # The compiler asks each tensor that comes from a lookup for its gradient.
            warnings.filterwarnings(
                "ignore", r"The \.grad attribute of a Tensor that is not a leaf", UserWarning
            )
            yield torch.compile(compute_loss)
    finally:
        for table in tables:
            del table.forward
