"""What can't be trained is refused before anything is written."""

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from torchtowers.data.column_batches import ColumnBatches
from torchtowers.models.trainable import check_trainable, loss_value


class Model(nn.Module):
    def compute_loss(self, batch: object) -> torch.Tensor:
        return torch.zeros(())


def test_a_model_and_batches_are_taken_as_they_are() -> None:
    model = Model()
    assert check_trainable(model, ColumnBatches({"x": [1, 2]}, 1, 0)) is model


def test_a_data_loader_is_told_what_is_needed() -> None:
    loader: DataLoader[int] = DataLoader([1, 2, 3])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"is a DataLoader, which has no epoch\..*ColumnBatches or"):
        check_trainable(Model(), loader)  # type: ignore[arg-type]
    with pytest.raises(
        TypeError, match="is a generator, which has no batch_size and no __len__ and no epoch"
    ):
        check_trainable(Model(), (number for number in range(3)))  # type: ignore[arg-type]


def test_a_model_without_a_loss_and_batches_without_one_are_refused() -> None:
    with pytest.raises(TypeError, match=r"Linear has no compute_loss\(batch\)"):
        check_trainable(nn.Linear(1, 1), ColumnBatches({"x": [1]}, 1, 0))

    class Empty(ColumnBatches):
        def __len__(self) -> int:
            return 0

    with pytest.raises(ValueError, match="gives no batch an epoch"):
        check_trainable(Model(), Empty({"x": [1]}, 1, 0))


def test_a_loss_is_a_scalar() -> None:
    assert loss_value(torch.tensor(2.0)) == 2.0
    assert loss_value(torch.tensor([[2.0]])) == 2.0
    with pytest.raises(
        ValueError, match=r"scalar tensor, got one of shape \[32\]: let the task's loss reduce"
    ):
        loss_value(torch.zeros(32))
    with pytest.raises(ValueError, match="scalar tensor, got one of type float"):
        loss_value(0.5)
