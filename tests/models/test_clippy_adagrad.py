"""ClippyAdagrad against TFRS 0.7.7 and the values that its own tests work out by hand."""

import math
from copy import deepcopy
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import Parameter

from tests.models.golden import cases, load
from torchtowers.models.clippy_adagrad import ClippyAdagrad, shrink_by_references

SPARSE = ["clippy_adagrad_sparse", "clippy_adagrad_sparse_std"]
DENSE = sorted(set(cases("clippy_adagrad")) - set(SPARSE))


def close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-5)


def made(parameter: Parameter, config: dict[str, Any]) -> ClippyAdagrad:
    return ClippyAdagrad([parameter], lr=config.pop("learning_rate"), **config)


def test_cases_are_there() -> None:
    assert len(DENSE) == 8
    assert len(cases("shrink_by_references")) == 2


@pytest.mark.parametrize("name", DENSE)
def test_dense_steps_are_those_of_tfrs(name: str) -> None:
    case = load(name)
    weight = Parameter(case.inputs["w0"].clone())
    optimizer = made(weight, case.config)
    for step, expected in enumerate(case.outputs["w"]):
        optimizer.zero_grad()
        (0.5 * (case.inputs["a"] * (weight - case.inputs["t"]) ** 2).sum()).backward()
        optimizer.step()
        close(weight.data, expected)
        close(optimizer.state[weight]["accumulator"], case.outputs["accumulator"][step])
        close(optimizer.state[weight]["clipping_factor"], case.outputs["clipping_factor"][step])


@pytest.mark.parametrize("name", SPARSE)
def test_sparse_steps_are_those_of_tfrs(name: str) -> None:
    case = load(name)
    table = Parameter(case.inputs["table"].clone())
    optimizer = made(table, case.config)
    for step, expected in enumerate(case.outputs["table"]):
        rows, values = case.inputs["ids"][step], case.inputs["grads"][step]
        table.grad = torch.sparse_coo_tensor(rows[None], values, table.shape, check_invariants=True)
        optimizer.step()
        close(table.data, expected)
        close(optimizer.state[table]["clipping_factor"], case.outputs["clipping_factor"][step])


@pytest.mark.parametrize("name", cases("shrink_by_references"))
def test_shrinking_is_that_of_tfrs(name: str) -> None:
    case = load(name)
    tensor, scale = shrink_by_references(case.inputs["tensor"], [case.inputs["reference"]], **case.config)
    close(tensor, case.outputs["tensor"])
    close(scale, case.outputs["scale"])


@pytest.mark.parametrize(
    ("tensor", "references", "factors", "absolute", "shrunk", "scale"),
    [
        ([2.0], [[4.0]], [0.1], 0.02, [0.42], 0.21),
        ([2.0], [[-4.0]], [0.1], 0.02, [0.42], 0.21),
        ([-2.0], [[4.0]], [0.1], 0.02, [-0.42], 0.21),
        ([-2.0], [[4.0]], [0.1], 0.0, [-0.4], 0.2),
        ([2.0], [[0.0]], [0.1], 0.0, [0.0], 0.0),
        ([2.0], [[20.0]], [0.1], 0.1, [2.0], 1.0),
        ([0.0], [[4.0]], [0.1], 0.02, [0.0], 1.0),
        ([0.0], [[0.0]], [0.1], 0.0, [0.0], 1.0),
        ([2.0], [[4.0], [-5.0]], [0.1, 0.2], 0.02, [1.42], 0.71),
        ([2.0], [], [], 0.02, [0.02], 0.01),
        ([1.0, 1.0], [[1.0, 0.1]], [0.1], 0.01, [0.02, 0.02], 0.02),
        ([1.0, 1.0, 0.0, 0.0], [[1.0, 0.1, 1.0, 0.0]], [0.1], 0.0, [0.01, 0.01, 0.0, 0.0], 0.01),
        ([1.0, 1.0], [[1.0, 0.0]], [0.1], 0.0, [0.0, 0.0], 0.0),
        ([], [[]], [0.1], 0.02, [], 1.0),
    ],
)
def test_shrinking_by_hand(
    tensor: list[float],
    references: list[list[float]],
    factors: list[float],
    absolute: float,
    shrunk: list[float],
    scale: float,
) -> None:
    actual = shrink_by_references(
        torch.tensor(tensor), [torch.tensor(reference) for reference in references], factors, absolute
    )
    close(actual[0], torch.tensor(shrunk))
    close(actual[1], torch.tensor(scale))


def test_references_broadcast() -> None:
    tensor = torch.tensor([[1.0, 2.0], [1.0, 2.0]])
    shrunk, scale = shrink_by_references(tensor, [torch.tensor(1.0)], [0.1], 0.1)
    close(scale, torch.tensor(0.1))
    close(shrunk, tensor * 0.1)


finite = st.floats(-100, 100, width=32)


@given(st.lists(st.tuples(finite, finite), min_size=1), st.floats(0, 2), st.floats(0, 2))
def test_nothing_exceeds_its_reference(pairs: list[tuple[float, float]], factor: float, least: float) -> None:
    tensor, reference = torch.tensor(pairs).unbind(1)
    shrunk, scale = shrink_by_references(tensor, [reference], [factor], least)
    assert 0 <= scale <= 1
    assert (shrunk.abs() <= (factor * reference.abs() + least) * (1 + 1e-5) + 1e-30).all()
    close(shrunk, tensor * scale)


@pytest.mark.parametrize(
    ("references", "factors", "absolute", "message"),
    [
        ([], [0.1], 0.0, "0 references and 1 relative"),
        ([1.0], [-0.1], 0.0, "0 or more"),
        ([], [], -1.0, "absolute -1.0"),
    ],
)
def test_factors_that_do_not_fit_are_refused(
    references: list[float], factors: list[float], absolute: float, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        shrink_by_references(torch.ones(1), [torch.tensor(r) for r in references], factors, absolute)


def one_step(gradient: list[float], *, sparse: bool, **options: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Step from weights [1, 2]; a sparse gradient is for row 1 of three."""
    row, rows = torch.tensor([[1.0, 2.0]]), torch.tensor([[5.0, 6.0], [1.0, 2.0], [7.0, 8.0]])
    weight = Parameter(rows.clone() if sparse else row)
    optimizer = ClippyAdagrad([weight], **options)
    values = torch.tensor([gradient])
    weight.grad = (
        torch.sparse_coo_tensor(torch.tensor([[1]]), values, (3, 2), check_invariants=True)
        if sparse
        else values
    )
    optimizer.step()
    state = optimizer.state[weight]
    if sparse:
        assert (weight[[0, 2]] == rows[[0, 2]]).all()
        assert (state["accumulator"][[0, 2]] == options["initial_accumulator_value"]).all()
    touched = 1 if sparse else 0
    return weight.data[touched], state["accumulator"][touched], state["clipping_factor"]


CLIPPED = {
    "lr": 0.2,
    "initial_accumulator_value": 0.01,
    "variable_relative_threshold": 0.4,
    "accumulator_relative_threshold": 0.01,
    "absolute_threshold": 0.1,
    "epsilon": 0.0,
}


@pytest.mark.parametrize("sparse", [False, True])
class TestByHand:
    def test_without_clipping(self, sparse: bool) -> None:
        weight, accumulator, factor = one_step(
            [0.1, 0.1], sparse=sparse, lr=0.1, initial_accumulator_value=0.01, variable_relative_threshold=1.0
        )
        close(weight, torch.tensor([0.9, 1.9]))
        close(accumulator, torch.tensor([0.02, 0.02]))
        assert factor == 1

    def test_clipped(self, sparse: bool) -> None:
        weight, accumulator, factor = one_step([10.0, 10.0], sparse=sparse, **CLIPPED)
        close(weight, torch.tensor([0.4, 1.4]))
        close(factor, torch.tensor(0.6 * 0.1 / (10 * 0.2)))
        close(accumulator, torch.tensor([100.01, 100.01]))

    def test_accumulator_takes_the_clipped_gradient(self, sparse: bool) -> None:
        weight, accumulator, _ = one_step(
            [10.0, 10.0], sparse=sparse, **CLIPPED, clip_accumulator_update=True
        )
        close(weight, torch.tensor([0.4, 1.4]))
        close(accumulator, torch.tensor([0.01 + 0.3**2] * 2))

    def test_standard_update_makes_the_first_step_the_learning_rate(self, sparse: bool) -> None:
        weight, accumulator, _ = one_step(
            [3.0, 3.0],
            sparse=sparse,
            lr=0.1,
            initial_accumulator_value=0.0,
            variable_relative_threshold=1.0,
            epsilon=0.0,
            use_standard_accumulator_update=True,
        )
        close(weight, torch.tensor([0.9, 1.9]))
        close(accumulator, torch.tensor([9.0, 9.0]))


def test_embeddings_train_alike_dense_and_sparse() -> None:
    tables = []
    for sparse in (False, True):
        torch.manual_seed(0)
        table = torch.nn.Embedding(4, 3, sparse=sparse)
        optimizer = ClippyAdagrad(table.parameters(), lr=0.1)
        for rows in ([0, 1, 1, 2, 3], [3, 2, 1, 0]):
            optimizer.zero_grad()
            (table(torch.tensor(rows)) ** 2).sum().backward()
            optimizer.step()
        tables.append(table.weight.data)
    close(tables[1], tables[0])


def test_training_goes_on_from_a_saved_state() -> None:
    weight = Parameter(torch.tensor([1.0, -2.0]))
    optimizer = ClippyAdagrad([weight], lr=0.5)
    weight.grad = torch.tensor([0.3, 0.4])
    optimizer.step()
    copy = Parameter(weight.data.clone())
    resumed = ClippyAdagrad([copy])
    resumed.load_state_dict(deepcopy(optimizer.state_dict()))
    copy.grad = weight.grad
    optimizer.step()
    resumed.step()
    assert torch.equal(copy, weight)


def test_a_closure_gives_the_loss() -> None:
    weight = Parameter(torch.tensor([1.0]))
    optimizer = ClippyAdagrad([weight])

    def closure() -> float:
        optimizer.zero_grad()
        loss = (weight**2).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.item()

    assert optimizer.step(closure) == 1.0
    assert weight < 1


def test_gradients_that_are_missing_or_empty_change_nothing() -> None:
    weight, table = Parameter(torch.ones(2)), Parameter(torch.ones(2, 2))
    table.grad = torch.sparse_coo_tensor(
        torch.empty(1, 0, dtype=torch.int64), torch.empty(0, 2), (2, 2), check_invariants=True
    )
    ClippyAdagrad([weight, table]).step()
    assert (weight == 1).all()
    assert (table == 1).all()


def test_options_that_do_not_fit_are_refused() -> None:
    weight = Parameter(torch.ones(2, 2))
    with pytest.raises(ValueError, match="exclude each other"):
        ClippyAdagrad([weight], clip_accumulator_update=True, use_standard_accumulator_update=True)
    with pytest.raises(ValueError, match="epsilon has to be 0 or more, got -1"):
        ClippyAdagrad([weight], epsilon=-1)
    weight.grad = torch.eye(2).to_sparse()
    with pytest.raises(ValueError, match="1 sparse dimension, got 2"):
        ClippyAdagrad([weight]).step()


def test_a_gradient_that_is_no_number_shows() -> None:
    weight = Parameter(torch.ones(2))
    weight.grad = torch.tensor([math.nan, 0.1])
    ClippyAdagrad([weight]).step()
    assert weight.isnan().all()
