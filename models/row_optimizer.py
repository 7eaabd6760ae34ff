"""What optimizers of embedding tables have in common: a sparse gradient costs only the rows it names."""

from collections.abc import Callable, Mapping
from typing import Any, overload

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer, ParamsT

from torchtowers.models.sparse_gradients import combine_rows

__all__ = ["RowOptimizer"]


class RowOptimizer(Optimizer):
    """An optimizer that is told an update of some rows, and does it for sparse and dense gradients.

    A sparse gradient reads and writes its own rows of the parameter and of the state; rows that occur several
    times are summed first. A dense gradient is one of all rows. There is no copy of a table.

    Args:
        params: Parameters or groups of them.
        defaults: Options of a group.
        positive: Names of options that have to be 0 or more.

    Raises:
        ValueError: An option is negative, or a parameter is of half precision, in which sums of squares stop
            growing and small steps vanish.
    """

    def __init__(self, params: ParamsT, defaults: Mapping[str, Any], *, positive: tuple[str, ...]) -> None:
        for name in positive:
            if defaults[name] < 0:
                raise ValueError(f"{name} has to be 0 or more, got {defaults[name]}")
        super().__init__(params, dict(defaults))

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters with options of their own; errors are those of the constructor."""
        super().add_param_group(param_group)
        for parameter in self.param_groups[-1]["params"]:
            if parameter.dtype in (torch.float16, torch.bfloat16):
                raise ValueError(
                    f"a parameter is {parameter.dtype}, in which sums of squares stop growing and small "
                    "steps vanish: keep the weights in float32, and compute under torch.autocast"
                )

    def initial_state(self, parameter: Tensor, group: dict[str, Any]) -> dict[str, Tensor]:
        """Give a parameter's state before the first step: tensors of a value a row or more, or scalars."""
        raise NotImplementedError

    def update(
        self, weights: Tensor, gradient: Tensor, state: dict[str, Tensor], group: dict[str, Any]
    ) -> None:
        """Take one step of some rows, in place.

        Args:
            weights: `[rows, …]`.
            gradient: Of these, not sparse; not to be changed.
            state: Of these, and the scalars.
            group: The options.
        """
        raise NotImplementedError

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Take one step.

        Args:
            closure: Computes the loss again and returns it.

        Raises:
            ValueError: A sparse gradient has more than one sparse dimension.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        with torch.no_grad():
            for group in self.param_groups:
                for parameter in group["params"]:
                    if parameter.grad is not None:
                        self._step(parameter, parameter.grad, group)
        return loss

    def _step(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state.update(self.initial_state(parameter, group))
        if not gradient.is_sparse:
            self.update(parameter, gradient, state, group)
            return
        rows, values = combine_rows(gradient)
        weights = parameter.index_select(0, rows)
        # Scalars such as a count of steps belong to no row.
        of_rows = {name: tensor for name, tensor in state.items() if tensor.dim()}
        taken = state | {name: tensor.index_select(0, rows) for name, tensor in of_rows.items()}
        self.update(weights, values, taken, group)
        parameter.index_copy_(0, rows, weights)
        for name, tensor in of_rows.items():
            tensor.index_copy_(0, rows, taken[name])
