"""RowWiseAdagrad by hand, and against its definition over a whole table."""

import pytest
import torch
from torch.nn import Parameter

from tests.models.golden import assert_close
from torchtowers.models.row_wise_adagrad import RowWiseAdagrad


@pytest.mark.parametrize("sparse", [True, False])
def test_two_steps_by_hand(sparse: bool) -> None:
    table = Parameter(torch.ones(2, 2))
    optimizer = RowWiseAdagrad([table], lr=0.1)
    # Mean squares of row 1: (1 + 49) / 2 = 25, then (28.125 + 9.875) / 2 = 11 more: roots 5 and 6.
    for values in ([[0.0, 0.0], [1.0, 7.0]], [[0.0, 0.0], [11**0.5, 11**0.5]]):
        gradient = torch.tensor(values)
        table.grad = gradient.to_sparse(1) if sparse else gradient
        optimizer.step()
    expected = torch.tensor([1 - 0.1 / 5 - 0.1 * 11**0.5 / 6, 1 - 0.7 / 5 - 0.1 * 11**0.5 / 6])
    assert_close(table[1], expected)
    assert table[0].tolist() == [1.0, 1.0]
    assert_close(optimizer.state[table]["accumulator"], torch.tensor([0.0, 36.0]))


def test_sparse_steps_are_the_definition_over_the_whole_table() -> None:
    generator = torch.Generator().manual_seed(0)
    table = Parameter(torch.randn(20, 6, generator=generator))
    weights, sums = table.detach().double(), torch.full((20,), 0.25, dtype=torch.float64)
    optimizer = RowWiseAdagrad([table], lr=0.3, initial_accumulator_value=0.25, eps=1e-3)
    for _ in range(5):
        rows = torch.randint(0, 20, (1, 30), generator=generator)
        values = torch.randn(30, 6, generator=generator)
        table.grad = torch.sparse_coo_tensor(rows, values, table.shape, check_invariants=True)
        optimizer.step()
        whole = torch.zeros(20, 6, dtype=torch.float64).index_add_(0, rows[0], values.double())
        sums += (whole**2).mean(1)
        weights -= 0.3 * whole / (sums.sqrt() + 1e-3)[:, None]
        assert_close(table, weights.float())
        assert_close(optimizer.state[table]["accumulator"], sums.float())


def test_there_is_one_value_a_row() -> None:
    table = Parameter(torch.ones(5, 3, 2))
    table.grad = torch.ones(5, 3, 2)
    optimizer = RowWiseAdagrad([table], lr=0.1)
    optimizer.step()
    assert {name: tuple(tensor.shape) for name, tensor in optimizer.state[table].items()} == {
        "accumulator": (5,)
    }
    assert_close(table, torch.full((5, 3, 2), 0.9))


def test_a_vector_and_a_scalar_are_rows_of_one_value() -> None:
    vector, scalar = Parameter(torch.ones(2)), Parameter(torch.tensor(1.0))
    vector.grad, scalar.grad = torch.tensor([2.0, -4.0]), torch.tensor(8.0)
    RowWiseAdagrad([vector, scalar], lr=0.1).step()
    assert_close(vector, torch.tensor([0.9, 1.1]))
    assert_close(scalar, torch.tensor(0.9))


def test_a_negative_value_is_refused() -> None:
    with pytest.raises(ValueError, match="eps has to be 0 or more, got -1"):
        RowWiseAdagrad([Parameter(torch.ones(1))], eps=-1)
