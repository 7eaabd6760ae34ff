"""Weights by name, shared ones once."""

from pathlib import Path

import pytest
import torch

from torchtowers.models.errors import RunError
from torchtowers.models.run import Run
from torchtowers.models.weights import load_weights, weights_of


class Tied(torch.nn.Module):
    """A table under two names, a buffer, and a buffer that is not saved."""

    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Embedding(3, 2)
        self.second = torch.nn.ModuleList([self.first])
        self.register_buffer("count", torch.randn(()))
        self.register_buffer("cache", torch.randn(2), persistent=False)


def test_a_shared_table_is_there_once_and_comes_back_under_both_names() -> None:
    model, other = Tied(), Tied()
    weights = weights_of(model)
    assert sorted(weights) == ["count", "first.weight"]
    load_weights(other, weights)
    assert other.second[0].weight is other.first.weight
    for name, tensor in model.state_dict().items():
        assert torch.equal(other.state_dict()[name], tensor)


def test_a_run_holds_a_model_with_shared_tables(tmp_path: Path) -> None:
    model, other = Tied(), Tied()
    run = Run(tmp_path)
    run.save_model(model)
    run.load_model(other)
    assert torch.equal(other.first.weight, model.first.weight)
    with pytest.raises(RunError, match="does not fit"):
        run.load_model(torch.nn.Linear(2, 2))


def test_weights_of_another_model_are_refused() -> None:
    with pytest.raises(RuntimeError, match=r"missing: \['bias', 'weight'\], unexpected: \['count', 'first"):
        load_weights(torch.nn.Linear(2, 2), weights_of(Tied()))
