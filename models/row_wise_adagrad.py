"""Adagrad with one state value a row.

Source: fbgemm's and TorchRec's EXACT_ROWWISE_ADAGRAD.
"""

from typing import Any

from torch import Tensor
from torch.optim.optimizer import ParamsT

from torchtowers.models.row_optimizer import RowOptimizer

__all__ = ["RowWiseAdagrad"]


class RowWiseAdagrad(RowOptimizer):
    """Divides a row's step by the root of its accumulated mean square gradient.

    The state `accumulator` is `[rows]`, so a table of width 64 needs a 64th of Adagrad's memory. A sparse
    gradient costs only its own rows; rows that occur several times are summed first. A vector has rows of one
    value, for which this is Adagrad.

    Args:
        params: Parameters or groups of them.
        lr: Learning rate.
        initial_accumulator_value: Where the sums of mean squares begin.
        eps: Added to the root.

    Raises:
        ValueError: A value is negative.

    Example:
        >>> table = torch.nn.Embedding.from_pretrained(torch.ones(3, 2), freeze=False, sparse=True)
        >>> optimizer = RowWiseAdagrad(table.parameters(), lr=0.1)
        >>> (table(torch.tensor([1])) * torch.tensor([1.0, 7.0])).sum().backward()
        >>> optimizer.step()
        >>> table.weight.data
        tensor([[1.0000, 1.0000],
                [0.9800, 0.8600],
                [1.0000, 1.0000]])
        >>> optimizer.state[table.weight]["accumulator"]
        tensor([ 0., 25.,  0.])
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 0.01,
        *,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-8,
    ) -> None:
        defaults = {"lr": lr, "initial_accumulator_value": initial_accumulator_value, "eps": eps}
        super().__init__(params, defaults, positive=tuple(defaults))

    def initial_state(self, parameter: Tensor, group: dict[str, Any]) -> dict[str, Tensor]:
        """Give one value a row."""
        return {"accumulator": parameter.new_full(parameter.shape[:1], group["initial_accumulator_value"])}

    def update(
        self, weights: Tensor, gradient: Tensor, state: dict[str, Tensor], group: dict[str, Any]
    ) -> None:
        """Take one step of some rows; see `RowOptimizer.update`."""
        squares = gradient.square()
        if squares.dim() > 1:
            squares = squares.flatten(1).mean(1)
        accumulator = state["accumulator"].add_(squares)
        divisor = accumulator.sqrt().add_(group["eps"])
        # As many dimensions as the gradient, `[rows, 1, …]`.
        divisor = divisor.reshape(divisor.shape + (1,) * (gradient.dim() - divisor.dim()))
        weights.addcdiv_(gradient, divisor, value=-group["lr"])
