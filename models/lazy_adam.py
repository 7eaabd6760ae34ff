"""Adam that leaves the rows alone which a batch does not name.

Sources: Kingma & Ba 2015; `torch.optim.SparseAdam`; TensorFlow Addons' `LazyAdam`.
"""

from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from torchtowers.models.row_optimizer import RowOptimizer

__all__ = ["LazyAdam"]


class LazyAdam(RowOptimizer):
    """Adam whose averages and weights of a row change only in steps that name the row.

    Gives the numbers of `torch.optim.SparseAdam`, to the bit and faster, and takes dense gradients too: then
    every row is named, and it is Adam. Keras' Adam takes a sparse gradient for such a dense one: each of its
    steps moves all rows, and costs the whole table. The state holds `exp_avg` and `exp_avg_sq`, shaped as the
    parameter, and the number of steps.

    Args:
        params: Parameters or groups of them.
        lr: Learning rate.
        betas: Of the averages of the gradient and of its square.
        eps: Added to the root of the latter, before its bias is corrected, as in Keras. Keras's default is
            1e-7, PyTorch's and this one 1e-8: give `eps=1e-7` for the numbers of a Keras model.

    Raises:
        ValueError: A value is negative, or a beta is not in [0, 1).

    Example:
        >>> table = torch.nn.Embedding.from_pretrained(torch.ones(3, 1), freeze=False, sparse=True)
        >>> optimizer = LazyAdam(table.parameters(), lr=0.1)
        >>> table(torch.tensor([1])).sum().backward()
        >>> optimizer.step()
        >>> table.weight.data.flatten()
        tensor([1.0000, 0.9000, 1.0000])
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 0.001,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        if not all(0 <= beta < 1 for beta in betas):
            raise ValueError(f"betas have to be in [0, 1), got {betas}")
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps}, positive=("lr", "eps"))

    def initial_state(self, parameter: Tensor, group: dict[str, Any]) -> dict[str, Tensor]:
        """Give averages of 0, and a count that stays on the CPU, where it is used."""
        return {
            "step": torch.zeros((), device="cpu"),
            "exp_avg": torch.zeros_like(parameter),
            "exp_avg_sq": torch.zeros_like(parameter),
        }

    def update(
        self, weights: Tensor, gradient: Tensor, state: dict[str, Tensor], group: dict[str, Any]
    ) -> None:
        """Take one step of some rows; see `RowOptimizer.update`."""
        step = state["step"].add_(1).item()
        beta1, beta2 = group["betas"]
        average, square = state["exp_avg"], state["exp_avg_sq"]
        # In the order of torch.optim.SparseAdam's operations: another one rounds differently.
        average.add_(gradient.sub(average).mul_(1 - beta1))
        square.add_(gradient.square().sub_(square).mul_(1 - beta2))
        size = group["lr"] * (1 - beta2**step) ** 0.5 / (1 - beta1**step)
        weights.add_(average.div(square.sqrt().add_(group["eps"])).mul_(-size))
