"""Several optimizers as one, each with parameters of its own.

Source: TFRS `experimental.optimizers.CompositeOptimizer`.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from torchtowers.models.schedules import Schedule

__all__ = ["CompositeOptimizer"]


class CompositeOptimizer:
    """Steps several optimizers together, and moves their learning rates by one schedule.

    TFRS pairs each optimizer with a function that gives its variables; here an optimizer has been given its
    parameters already.

    Args:
        optimizers: No parameter belongs to two of them.
        parameters: All that have to be handled, such as `model.parameters()`; None leaves that unchecked.
        schedule: Takes the number of steps taken, and gives the part of each learning rate that holds.

    Raises:
        ValueError: There is no optimizer, a parameter has two, or one of `parameters` has none.

    Example:
        >>> table, layer = torch.nn.Embedding(9, 4, sparse=True), torch.nn.Linear(4, 1)
        >>> optimizer = CompositeOptimizer(
        ...     [torch.optim.SparseAdam(table.parameters()), torch.optim.AdamW(layer.parameters())],
        ...     parameters=[*table.parameters(), *layer.parameters()],
        ... )
        >>> layer(table(torch.tensor([3]))).sum().backward()
        >>> optimizer.step()
        >>> optimizer.iterations
        1
    """

    def __init__(
        self,
        optimizers: Sequence[Optimizer],
        *,
        parameters: Iterable[Tensor] | None = None,
        schedule: Schedule | None = None,
    ) -> None:
        if not optimizers:
            raise ValueError("there is no optimizer: give one at least")
        self.optimizers = list(optimizers)
        self.iterations = 0
        self._schedule = schedule
        owners = Counter(id(parameter) for group in self.param_groups for parameter in group["params"])
        twice = sum(count > 1 for count in owners.values())
        if twice:
            raise ValueError(f"{twice} parameters belong to more than one optimizer: give each to one only")
        missing = [tuple(parameter.shape) for parameter in parameters or () if id(parameter) not in owners]
        if missing:
            raise ValueError(f"no optimizer handles the parameters of shapes {missing}: give them to one")

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The groups of all optimizers."""
        return [group for optimizer in self.optimizers for group in optimizer.param_groups]

    def step(self) -> None:
        """Take one step with each optimizer."""
        if self._schedule is not None:
            factor = self._schedule(self.iterations)
            for group in self.param_groups:
                # Here, since a group may have been added, or loaded from an optimizer that had no schedule.
                group["lr"] = group.setdefault("initial_lr", group["lr"]) * factor
        for optimizer in self.optimizers:
            optimizer.step()
        self.iterations += 1

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clear the gradients of all parameters."""
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none)

    def state_dict(self) -> dict[str, Any]:
        """Give the number of steps and each optimizer's state."""
        return {
            "iterations": self.iterations,
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what `state_dict` gave.

        Raises:
            ValueError: It is of other optimizers.
        """
        theirs = state["optimizers"]
        if len(theirs) != len(self.optimizers):
            raise ValueError(
                f"the state is of {len(theirs)} optimizers, and there are {len(self.optimizers)}"
            )
        for optimizer, part in zip(self.optimizers, theirs, strict=True):
            optimizer.load_state_dict(part)
        self.iterations = state["iterations"]
