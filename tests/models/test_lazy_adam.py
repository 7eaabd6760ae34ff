"""LazyAdam against torch and Keras."""

from copy import deepcopy

import pytest
import torch
from torch.nn import Parameter

from tests.models.differences import different
from tests.models.golden import assert_close, cases, load
from torchtowers.models.lazy_adam import LazyAdam

# Deliberately different: why. Tests below show what ours does, and that a dense gradient gives Keras' steps.
DIFFERENT = different("opt_sparse_keras_adam_")


def test_cases_are_there() -> None:
    assert set(cases("opt_sparse_keras_adam_")) == set(DIFFERENT)


@pytest.mark.parametrize("name", DIFFERENT)
def test_the_same_gradients_as_dense_ones_give_the_steps_of_keras(name: str) -> None:
    case = load(name)
    config = case.config
    table = Parameter(case.inputs["table"].clone())
    optimizer = LazyAdam(
        [table],
        lr=float(config["learning_rate"]),
        betas=(config["beta_1"], config["beta_2"]),
        eps=config["epsilon"],
    )
    for rows, values, expected in zip(
        case.inputs["ids"], case.inputs["grads"], case.outputs["table"], strict=True
    ):
        table.grad = torch.zeros_like(table).index_add_(0, rows, values)
        optimizer.step()
        assert_close(table, expected)


@pytest.mark.parametrize("name", DIFFERENT)
def test_a_step_moves_only_the_rows_of_its_gradient(name: str) -> None:
    case = load(name)
    table = Parameter(case.inputs["table"].clone())
    optimizer = LazyAdam([table], lr=0.01, eps=1e-7)
    moved_by_keras = False
    before_keras = case.inputs["table"]
    for rows, values, keras in zip(
        case.inputs["ids"], case.inputs["grads"], case.outputs["table"], strict=True
    ):
        before = table.detach().clone()
        table.grad = torch.sparse_coo_tensor(rows[None], values, table.shape, check_invariants=True)
        optimizer.step()
        others = torch.ones(len(table), dtype=torch.bool).index_fill_(0, rows, False)
        assert torch.equal(table[others], before[others])
        assert (table[~others] != before[~others]).all()
        moved_by_keras |= bool((keras[others] != before_keras[others]).any())
        before_keras = keras
    assert moved_by_keras


@pytest.mark.parametrize("dim", [1, 3, 64])
@pytest.mark.filterwarnings("ignore:Sparse invariant checks:UserWarning")  # raised by torch's own optimizer
def test_sparse_steps_are_those_of_torch_to_the_bit(dim: int) -> None:
    generator = torch.Generator().manual_seed(dim)
    start = torch.randn(50, dim, generator=generator)
    ours, theirs = Parameter(start.clone()), Parameter(start.clone())
    optimizers = [LazyAdam([ours], lr=0.006), torch.optim.SparseAdam([theirs], lr=0.006)]
    # Of 70 rows of 50 several occur twice; a batch may name none.
    for count in (70, 3, 0, 200, 70):
        rows = torch.randint(0, 50, (1, count), generator=generator)
        values = torch.randn(count, dim, generator=generator)
        for table, optimizer in zip((ours, theirs), optimizers, strict=True):
            table.grad = torch.sparse_coo_tensor(rows, values, table.shape, check_invariants=True)
            optimizer.step()
        assert torch.equal(ours, theirs)


def test_dense_steps_are_those_of_adam() -> None:
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(5, 4, generator=generator)
    ours, theirs = Parameter(start.clone()), Parameter(start.clone())
    # Where epsilon is added makes no difference to 1e-5.
    optimizers = [LazyAdam([ours], lr=0.1), torch.optim.Adam([theirs], lr=0.1)]
    for _ in range(5):
        gradient = torch.randn(5, 4, generator=generator)
        for weight, optimizer in zip((ours, theirs), optimizers, strict=True):
            weight.grad = gradient.clone()
            optimizer.step()
    assert_close(ours, theirs.detach())


def test_a_scalar_is_learnt_too() -> None:
    weight = Parameter(torch.tensor(1.0))
    weight.grad = torch.tensor(2.0)
    LazyAdam([weight], lr=0.1).step()
    assert_close(weight, torch.tensor(0.9))


def test_training_goes_on_from_a_saved_state() -> None:
    table = torch.nn.Embedding(4, 2, sparse=True)
    optimizer = LazyAdam(table.parameters(), lr=0.1)
    table(torch.tensor([1, 2])).sum().backward()
    optimizer.step()
    copy = deepcopy(table)
    resumed = LazyAdam(copy.parameters(), lr=0.1)
    resumed.load_state_dict(deepcopy(optimizer.state_dict()))
    for each, stepped in ((table, optimizer), (copy, resumed)):
        stepped.zero_grad()
        (each(torch.tensor([1, 3])) ** 2).sum().backward()
        stepped.step()
    assert torch.equal(copy.weight, table.weight)


def test_options_that_do_not_fit_are_refused() -> None:
    weight = Parameter(torch.ones(1))
    with pytest.raises(ValueError, match=r"betas have to be in \[0, 1\), got \(0.9, 1.0\)"):
        LazyAdam([weight], betas=(0.9, 1.0))
    with pytest.raises(ValueError, match="eps has to be 0 or more, got -1"):
        LazyAdam([weight], eps=-1)
