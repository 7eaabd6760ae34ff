"""Optimizers: sparse Adam for the tables, AdamW for the layers, one schedule for both."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from torchtowers.models.embeddings import ListEmbedding, TokenEmbedding

__all__ = ["SparseAndDense"]


class SparseAndDense:
    """Updates embedding tables sparsely and all other parameters densely.

    A step touches only the table rows that its batch names, so its cost does not grow with the vocabulary.

    Args:
        model: Its `TokenEmbedding`s and `ListEmbedding`s are the tables.
        embedding_learning_rate: Of the tables.
        dense_learning_rate: Of the other parameters.
        weight_decay: Of the other parameters.
        total_steps: Over which the learning rates rise and fall.
        warmup: Part of the steps over which they rise from 0.
        final: Part of them that is left at the last step.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        embedding_learning_rate: float,
        dense_learning_rate: float,
        weight_decay: float,
        total_steps: int,
        warmup: float,
        final: float,
    ) -> None:
        tables, others = _parameters(model)
        self._optimizers: dict[str, torch.optim.Optimizer] = {
            "tables": torch.optim.SparseAdam(tables, lr=embedding_learning_rate),
            "layers": torch.optim.AdamW(others, lr=dense_learning_rate, weight_decay=weight_decay),
        }
        self._rates = {"tables": embedding_learning_rate, "layers": dense_learning_rate}
        self._total = total_steps
        self._warmup = round(total_steps * warmup)
        self._final = final

    def step(self, number: int) -> None:
        """Apply the gradients of step `number`, counted from 0 over all epochs, and clear them."""
        factor = self.factor(number)
        for name, optimizer in self._optimizers.items():
            for group in optimizer.param_groups:
                group["lr"] = self._rates[name] * factor
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    def factor(self, number: int) -> float:
        """Give the part of the learning rates that holds at a step."""
        if number < self._warmup:
            return (number + 1) / (self._warmup + 1)
        progress = (number - self._warmup) / max(self._total - self._warmup, 1)
        return 1.0 - (1.0 - self._final) * progress

    def state(self) -> dict[str, Tensor]:
        """Give the optimizers' state as named tensors."""
        tensors = {}
        for name, optimizer in self._optimizers.items():
            for index, values in optimizer.state_dict()["state"].items():
                for key, value in values.items():
                    tensors[f"{name}.{index}.{key}"] = torch.as_tensor(value).clone()
        return tensors

    def load_state(self, tensors: dict[str, Tensor]) -> None:
        """Take back what `state` gave."""
        for name, optimizer in self._optimizers.items():
            state: dict[int, dict[str, Any]] = {}
            for full, tensor in tensors.items():
                owner, index, key = full.split(".")
                if owner == name:
                    # SparseAdam counts its steps in a plain integer, AdamW in a tensor.
                    plain = name == "tables" and key == "step"
                    state.setdefault(int(index), {})[key] = int(tensor) if plain else tensor
            optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def _parameters(model: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    tables = list(_tables(model))
    known = {id(parameter) for parameter in tables}
    return tables, [parameter for parameter in model.parameters() if id(parameter) not in known]


def _tables(model: nn.Module) -> Iterator[nn.Parameter]:
    for module in model.modules():
        if isinstance(module, TokenEmbedding | ListEmbedding):
            yield module.weight
