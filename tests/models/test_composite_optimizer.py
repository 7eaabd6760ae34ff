"""Several optimizers as one: TFRS's steps, its errors, its restored state."""

from copy import deepcopy

import pytest
import torch
from torch.nn import Parameter

from tests.models.golden import assert_close, load
from torchtowers.models.composite_optimizer import CompositeOptimizer
from torchtowers.models.lazy_adam import LazyAdam
from torchtowers.models.schedules import warmup_and_decay
from torchtowers.models.sparse_adagrad import SparseAdagrad


def test_steps_are_those_of_tfrs() -> None:
    case = load("composite_optimizer")
    assert case.config == {"a": "legacy.SGD(0.1)", "b": "legacy.Adagrad(0.5)"}
    a, b = Parameter(case.inputs["a"].clone()), Parameter(case.inputs["b"].clone())
    optimizer = CompositeOptimizer(
        [torch.optim.SGD([a], lr=0.1), SparseAdagrad([b], lr=0.5)], parameters=[a, b]
    )
    for step in range(5):
        optimizer.zero_grad()
        (a.square().sum() * b.cos().sum()).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        assert_close(a, case.outputs["a"][step])
        assert_close(b, case.outputs["b"][step])
    assert optimizer.iterations == case.outputs["iterations"]


def test_what_tfrs_refuses_is_refused() -> None:
    a, b = Parameter(torch.ones(1)), Parameter(torch.ones(2, 3))
    with pytest.raises(ValueError, match="there is no optimizer"):
        CompositeOptimizer([])
    with pytest.raises(ValueError, match="1 parameters belong to more than one optimizer"):
        CompositeOptimizer([torch.optim.SGD([a, b]), SparseAdagrad([b])])
    with pytest.raises(ValueError, match=r"no optimizer handles the parameters of shapes \[\(2, 3\)\]"):
        CompositeOptimizer([torch.optim.SGD([a])], parameters=[a, b])


def made(weights: list[Parameter]) -> CompositeOptimizer:
    return CompositeOptimizer(
        [LazyAdam([weights[0]], lr=1.0), torch.optim.AdamW([weights[1]], lr=0.1)],
        schedule=warmup_and_decay(8, warmup=0.25, final=0.1),
    )


def train(weights: list[Parameter], optimizer: CompositeOptimizer, steps: int) -> None:
    for _ in range(steps):
        optimizer.zero_grad()
        (weights[0].square().sum() + (weights[1] - 3).square().sum()).backward()  # type: ignore[no-untyped-call]
        optimizer.step()


def test_training_goes_on_from_a_saved_state() -> None:
    weights = [Parameter(torch.ones(2)), Parameter(torch.ones(3))]
    optimizer = made(weights)
    train(weights, optimizer, 3)
    copies = [Parameter(weight.detach().clone()) for weight in weights]
    resumed = made(copies)
    resumed.load_state_dict(deepcopy(optimizer.state_dict()))
    assert resumed.iterations == 3
    train(weights, optimizer, 5)
    train(copies, resumed, 5)
    for copy, weight in zip(copies, weights, strict=True):
        assert torch.equal(copy, weight)
    with pytest.raises(ValueError, match="the state is of 2 optimizers, and there are 1"):
        CompositeOptimizer([torch.optim.SGD(copies)]).load_state_dict(optimizer.state_dict())


def test_the_schedule_moves_each_learning_rate_from_its_own() -> None:
    weights = [Parameter(torch.ones(2)), Parameter(torch.ones(3))]
    optimizer = made(weights)
    schedule = warmup_and_decay(8, warmup=0.25, final=0.1)
    for step in range(8):
        train(weights, optimizer, 1)
        rates = [group["lr"] for group in optimizer.param_groups]
        assert rates == [1.0 * schedule(step), 0.1 * schedule(step)]


def test_without_a_schedule_a_learning_rate_may_be_set() -> None:
    weight = Parameter(torch.ones(1))
    optimizer = CompositeOptimizer([torch.optim.SGD([weight], lr=1.0)])
    optimizer.param_groups[0]["lr"] = 0.5
    weight.grad = torch.ones(1)
    optimizer.step()
    assert weight == 0.5


def test_a_group_added_later_follows_the_schedule_too() -> None:
    first, second = torch.nn.Parameter(torch.ones(1)), torch.nn.Parameter(torch.ones(1))
    optimizer = CompositeOptimizer([torch.optim.SGD([first], lr=1.0)], schedule=lambda step: 0.5)
    optimizer.optimizers[0].add_param_group({"params": [second], "lr": 4.0})
    first.grad = second.grad = torch.ones(1)
    for _ in range(2):
        optimizer.step()
    assert [first.item(), second.item()] == [0.0, -3.0]
