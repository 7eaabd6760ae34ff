"""Rows combined, and norms over dense and sparse gradients."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import Parameter

from torchtowers.models.sparse_gradients import clip_gradient_norm, combine_rows


def sparse(rows: list[int], values: Tensor, size: tuple[int, ...]) -> Tensor:
    return torch.sparse_coo_tensor(torch.tensor([rows]), values, size, check_invariants=True)


@given(st.lists(st.integers(0, 9), max_size=40), st.sampled_from([(), (1,), (3,), (2, 5)]))
def test_rows_are_combined_as_torch_does_to_the_bit(rows: list[int], shape: tuple[int, ...]) -> None:
    values = torch.randn(len(rows), *shape, generator=torch.Generator().manual_seed(len(rows)))
    gradient = sparse(rows, values, (10, *shape))
    found, combined = combine_rows(gradient)
    expected = gradient.coalesce()
    assert torch.equal(found, expected.indices()[0])
    assert combined.shape == expected.values().shape
    assert torch.equal(combined, expected.values())
    again, same = combine_rows(expected)
    assert torch.equal(again, found)
    assert torch.equal(same, combined)


def test_a_matrix_of_sparse_elements_is_refused() -> None:
    with pytest.raises(ValueError, match="1 sparse dimension, got 2"):
        combine_rows(torch.eye(2).to_sparse())


def gradients() -> list[Parameter]:
    """Dense [3], row 0 [4, 0], row 1 twice, [0, 8] in sum, and one without a gradient: sqrt(9 + 16 + 64)."""
    layer, table, idle = Parameter(torch.zeros(1)), Parameter(torch.zeros(3, 2)), Parameter(torch.zeros(2))
    layer.grad = torch.tensor([3.0])
    table.grad = sparse([1, 0, 1], torch.tensor([[-1.0, 6.0], [4.0, 0.0], [1.0, 2.0]]), (3, 2))
    return [layer, table, idle]


def test_the_norm_counts_rows_that_occur_twice_as_their_sum() -> None:
    layer, table, _ = parameters = gradients()
    norm = clip_gradient_norm(parameters, 1.0)
    torch.testing.assert_close(norm, torch.tensor(math.sqrt(89)))
    assert layer.grad is not None
    assert table.grad is not None
    torch.testing.assert_close(layer.grad, torch.tensor([3.0]) / math.sqrt(89))
    expected = torch.tensor([[4.0, 0.0], [0.0, 8.0], [0.0, 0.0]]) / math.sqrt(89)
    torch.testing.assert_close(table.grad.to_dense(), expected)
    torch.testing.assert_close(clip_gradient_norm(parameters, 9.0), torch.tensor(1.0))


def test_it_is_that_of_torch_for_dense_gradients() -> None:
    ours, theirs = gradients(), gradients()
    for parameter in (ours[1], theirs[1]):
        assert parameter.grad is not None
        parameter.grad = parameter.grad.to_dense()
    assert clip_gradient_norm(ours, 2.0) == torch.nn.utils.clip_grad_norm_(theirs, 2.0)
    for one, other in zip(ours[:2], theirs[:2], strict=True):
        assert one.grad is not None
        assert other.grad is not None
        assert torch.equal(one.grad, other.grad)


def test_small_gradients_are_left_alone() -> None:
    layer, table, _ = parameters = gradients()
    clip_gradient_norm(parameters, 10.0)
    assert layer.grad is not None
    assert table.grad is not None
    assert layer.grad.item() == 3.0
    assert table.grad.to_dense()[1].tolist() == [0.0, 8.0]


def test_without_gradients_the_norm_is_0() -> None:
    assert clip_gradient_norm([Parameter(torch.ones(2))], 1.0) == 0.0


def test_double_precision_stays_double() -> None:
    double, single = (Parameter(torch.zeros(1, dtype=each)) for each in (torch.float64, torch.float32))
    double.grad, single.grad = torch.tensor([3.0 + 1e-12], dtype=torch.float64), torch.tensor([4.0])
    norm = clip_gradient_norm([single, double], 1.0)
    assert norm.dtype == torch.float64
    assert norm.item() == pytest.approx(5.0, abs=1e-11)
    assert single.grad.item() == pytest.approx(0.8, rel=1e-6)
    assert clip_gradient_norm([double], 9.0).item() == double.grad.item()
