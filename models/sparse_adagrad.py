"""Adagrad with one state value an element, for tables.

Sources: Duchi et al. 2011; Keras' `optimizers.Adagrad`.
"""

from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from torchtowers.models.row_optimizer import RowOptimizer

__all__ = ["SparseAdagrad"]


class SparseAdagrad(RowOptimizer):
    """Adagrad with Keras' defaults and numbers, so that TFRS's learning rates can be kept.

    Unlike those of `torch.optim.Adagrad`, its sums begin at 0.1, and a step with a sparse gradient is faster.
    Rows that occur several times are summed first. The state `accumulator` is shaped as the
    parameter.

    Args:
        params: Parameters or groups of them.
        lr: Learning rate.
        initial_accumulator_value: Where the sums of squared gradients begin.
        eps: Added to them under the root.

    Raises:
        ValueError: A value is negative.

    Example:
        >>> table = torch.nn.Embedding.from_pretrained(torch.ones(3, 1), freeze=False, sparse=True)
        >>> optimizer = SparseAdagrad(table.parameters(), lr=0.1, initial_accumulator_value=0.0)
        >>> table(torch.tensor([1, 1])).sum().backward()
        >>> optimizer.step()
        >>> table.weight.data.flatten()
        tensor([1.0000, 0.9000, 1.0000])
        >>> optimizer.state[table.weight]["accumulator"].flatten()
        tensor([0., 4., 0.])
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 0.001,
        *,
        initial_accumulator_value: float = 0.1,
        eps: float = 1e-7,
    ) -> None:
        defaults = {"lr": lr, "initial_accumulator_value": initial_accumulator_value, "eps": eps}
        super().__init__(params, defaults, positive=tuple(defaults))

    def initial_state(self, parameter: Tensor, group: dict[str, Any]) -> dict[str, Tensor]:
        """Give one value an element."""
        return {"accumulator": torch.full_like(parameter, group["initial_accumulator_value"])}

    def update(
        self, weights: Tensor, gradient: Tensor, state: dict[str, Tensor], group: dict[str, Any]
    ) -> None:
        """Take one step of some rows; see `RowOptimizer.update`."""
        accumulator = state["accumulator"].addcmul_(gradient, gradient)
        weights.addcdiv_(gradient, (accumulator + group["eps"]).sqrt_(), value=-group["lr"])
