"""Adagrad whose steps are clipped against the weights' own size.

Sources: TFRS `experimental.optimizers.ClippyAdagrad`; Tang et al. 2023, "Improving Training
Stability for Multitask Ranking Models in Recommender Systems".
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from torchtowers.models.row_optimizer import RowOptimizer

__all__ = ["ClippyAdagrad", "shrink_by_references"]


def shrink_by_references(
    tensor: Tensor,
    references: Sequence[Tensor],
    relative_factors: Sequence[float],
    absolute_factor: float,
) -> tuple[Tensor, Tensor]:
    """Scale a tensor as a whole, so that no element exceeds what its references allow.

    Element i may be as large as `sum_j relative_factors[j] * |references[j][i]| + absolute_factor`.

    Args:
        tensor: Any shape.
        references: Shapes that broadcast to the tensor's.
        relative_factors: One for each reference, not negative.
        absolute_factor: Not negative.

    Returns:
        The scaled tensor and the scale, a scalar of at most 1.

    Raises:
        ValueError: A factor is negative, or there is another number of references.

    Example:
        >>> shrink_by_references(torch.tensor([2.0]), [torch.tensor([4.0])], [0.1], 0.02)
        (tensor([0.4200]), tensor(0.2100))
    """
    if len(references) != len(relative_factors):
        raise ValueError(
            f"there are {len(references)} references and {len(relative_factors)} relative factors"
        )
    if min(*relative_factors, absolute_factor, 0.0) < 0:
        raise ValueError(
            f"factors have to be 0 or more, got relative {list(relative_factors)}, absolute {absolute_factor}"
        )
    if not tensor.numel():
        return tensor.clone(), tensor.new_ones(())
    allowed = torch.full_like(tensor, absolute_factor)
    for reference, factor in zip(references, relative_factors, strict=True):
        allowed += factor * reference.abs()
    # An element of 0 exceeds nothing, and 0 / 0 would be no number.
    scale = torch.where(tensor == 0, 1.0, allowed / tensor.abs()).amin().clamp(max=1.0)
    return tensor * scale, scale


class ClippyAdagrad(RowOptimizer):
    """Adagrad with one clipping factor for each parameter: a step never changes a weight by too large a part.

    Unlike `torch.optim.Adagrad`, a step is scaled by the accumulator from before its own gradient, so that a
    first large gradient isn't hidden, but clipped. A sparse gradient touches, and is clipped by, its own rows
    only; rows that occur several times are summed first. The state of a parameter holds `accumulator` and
    `clipping_factor`, the scalar of the last step.

    Args:
        params: Parameters or groups of them.
        lr: Learning rate.
        initial_accumulator_value: Where the sums of squared gradients begin.
        variable_relative_threshold: Part of a weight's size that a step may change.
        accumulator_relative_threshold: Part of `1 / sqrt(accumulator + epsilon)` that may be added to it.
        absolute_threshold: What may be added in any case, so that weights can leave 0.
        epsilon: Added to the accumulator under the root.
        clip_accumulator_update: Whether the accumulator takes the clipped gradient.
        use_standard_accumulator_update: Whether the accumulator is updated before the step, as in Adagrad.

    Raises:
        ValueError: A value is negative, or both ways to update the accumulator are asked for.

    Example:
        >>> weight = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
        >>> optimizer = ClippyAdagrad([weight], lr=0.2, initial_accumulator_value=0.01)
        >>> weight.grad = torch.tensor([10.0, 10.0])
        >>> optimizer.step()
        >>> weight.data
        tensor([0.9000, 1.9000])
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 0.001,
        *,
        initial_accumulator_value: float = 0.1,
        variable_relative_threshold: float = 0.1,
        accumulator_relative_threshold: float = 0.0,
        absolute_threshold: float = 1e-7,
        epsilon: float = 1e-7,
        clip_accumulator_update: bool = False,
        use_standard_accumulator_update: bool = False,
    ) -> None:
        if clip_accumulator_update and use_standard_accumulator_update:
            raise ValueError(
                "clip_accumulator_update and use_standard_accumulator_update exclude each other: "
                "the clipping factor is known only after the standard update"
            )
        defaults = {
            "lr": lr,
            "initial_accumulator_value": initial_accumulator_value,
            "variable_relative_threshold": variable_relative_threshold,
            "accumulator_relative_threshold": accumulator_relative_threshold,
            "absolute_threshold": absolute_threshold,
            "epsilon": epsilon,
        }
        flags = {
            "clip_accumulator_update": clip_accumulator_update,
            "use_standard_accumulator_update": use_standard_accumulator_update,
        }
        super().__init__(params, defaults | flags, positive=tuple(defaults))

    def initial_state(self, parameter: Tensor, group: dict[str, Any]) -> dict[str, Tensor]:
        """Give one value an element, and the factor of no clipping."""
        return {
            "accumulator": torch.full_like(parameter, group["initial_accumulator_value"]),
            "clipping_factor": parameter.new_ones(()),
        }

    def update(
        self, weights: Tensor, gradient: Tensor, state: dict[str, Tensor], group: dict[str, Any]
    ) -> None:
        """Take one step of some rows; see `RowOptimizer.update`."""
        delta, accumulated, factor = _clipped(weights, gradient, state["accumulator"], group)
        weights.sub_(delta)
        state["accumulator"].copy_(accumulated)
        state["clipping_factor"].copy_(factor)


def _clipped(
    weights: Tensor, gradient: Tensor, accumulator: Tensor, group: dict[str, Any]
) -> tuple[Tensor, Tensor, Tensor]:
    """Give the step to subtract, the accumulator after it and the clipping factor."""
    if group["use_standard_accumulator_update"]:
        accumulator = accumulator + gradient.square()
    precondition = (accumulator + group["epsilon"]).rsqrt()
    delta, factor = shrink_by_references(
        group["lr"] * gradient * precondition,
        references=[weights, precondition],
        relative_factors=[group["variable_relative_threshold"], group["accumulator_relative_threshold"]],
        absolute_factor=group["absolute_threshold"],
    )
    if not group["use_standard_accumulator_update"]:
        taken = gradient * factor if group["clip_accumulator_update"] else gradient
        accumulator = accumulator + taken.square()
    return delta, accumulator, factor
