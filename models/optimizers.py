"""The optimizers that training uses: one for the embedding tables, AdamW for the layers."""

from collections.abc import Callable, Mapping
from typing import Literal

import torch
from torch import nn

from torchtowers.models.composite_optimizer import CompositeOptimizer
from torchtowers.models.lazy_adam import LazyAdam
from torchtowers.models.row_optimizer import RowOptimizer
from torchtowers.models.row_wise_adagrad import RowWiseAdagrad
from torchtowers.models.schedules import Schedule
from torchtowers.models.sparse_adagrad import SparseAdagrad
from torchtowers.models.sparse_gradients import sparse_modules

__all__ = ["EmbeddingOptimizer", "build_optimizer", "split_parameters"]

EmbeddingOptimizer = Literal["lazy_adam", "sparse_adagrad", "row_wise_adagrad"]

_OF_TABLES: Mapping[EmbeddingOptimizer, Callable[..., RowOptimizer]] = {
    "lazy_adam": LazyAdam,
    "sparse_adagrad": SparseAdagrad,
    "row_wise_adagrad": RowWiseAdagrad,
}


def build_optimizer(
    model: nn.Module,
    *,
    embedding_optimizer: EmbeddingOptimizer = "lazy_adam",
    embedding_learning_rate: float,
    dense_learning_rate: float,
    weight_decay: float = 0.0,
    schedule: Schedule | None = None,
) -> CompositeOptimizer:
    """Build an optimizer for a model's tables and one for its layers.

    A step changes only the table rows that its batch names, so its cost does not grow with the vocabulary.

    Args:
        model: See `split_parameters` for what its tables are.
        embedding_optimizer: Of the tables.
        embedding_learning_rate: Of the tables.
        dense_learning_rate: Of the other parameters.
        weight_decay: Of the other parameters.
        schedule: Of both learning rates.

    Raises:
        ValueError: The model has no parameter to learn.
    """
    tables, layers = split_parameters(model)
    optimizers: list[torch.optim.Optimizer] = []
    if tables:
        optimizers.append(_OF_TABLES[embedding_optimizer](tables, lr=embedding_learning_rate))
    if layers:
        optimizers.append(torch.optim.AdamW(layers, lr=dense_learning_rate, weight_decay=weight_decay))
    return CompositeOptimizer(optimizers, schedule=schedule)


def split_parameters(model: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Divide what a model learns into tables and layers.

    Tables are the own parameters of `sparse_modules`.

    Returns:
        The tables and the others, each parameter once; frozen ones are left out.
    """
    tables = {
        id(parameter): parameter
        for module in sparse_modules(model)
        for parameter in module.parameters(recurse=False)
        if parameter.requires_grad
    }
    others = [
        parameter
        for parameter in model.parameters()
        if parameter.requires_grad and id(parameter) not in tables
    ]
    return list(tables.values()), others
