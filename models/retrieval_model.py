"""What every retrieval model has: a tower for queries and one for candidates."""

from torch import nn

from torchtowers.models.multi_task import MultiTask
from torchtowers.models.sequential_two_tower import SequentialTwoTower
from torchtowers.models.two_tower import TwoTower

__all__ = ["RetrievalModel", "as_retrieval_model"]

RetrievalModel = TwoTower | SequentialTwoTower | MultiTask


def as_retrieval_model(model: nn.Module) -> RetrievalModel:
    """Take a model for one that retrieves.

    Raises:
        TypeError: It has no towers.
    """
    if not isinstance(model, RetrievalModel):
        raise TypeError(f"expected a model with a query and a candidate tower, got {type(model).__name__}")
    return model
