"""Pooled embeddings against values computed by Keras-RS, and worked out by hand."""

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.models.golden import assert_close, cases, load
from torchtowers.models.embed_reduce import EmbedReduce

CASES = cases("krs_embed_reduce_")
COMBINERS: list[Any] = ["mean", "sum", "sqrtn"]


def test_cases_are_there() -> None:
    assert CASES


def layer(combiner: Any, **options: Any) -> EmbedReduce:
    torch.manual_seed(0)
    return EmbedReduce(10, 4, combiner=combiner, **options)


@pytest.mark.parametrize("name", CASES)
def test_outputs_are_those_of_keras_rs(name: str) -> None:
    case = load(name)
    table = case.params["table"]
    embed = EmbedReduce(*table.shape, **case.config)
    embed.load_state_dict({"weight": table})
    assert_close(embed(**case.inputs), case.outputs["y"])


def divisor(combiner: str, weights: Tensor) -> float:
    return {"sum": 1.0, "mean": weights.sum().item(), "sqrtn": weights.square().sum().sqrt().item()}[combiner]


@pytest.mark.parametrize("combiner", COMBINERS)
@pytest.mark.parametrize("weighted", [False, True])
def test_lists_of_several_lengths_are_padded(combiner: str, weighted: bool) -> None:
    embed = layer(combiner, padding_idx=0)
    ids = torch.tensor([[1, 0, 0, 0], [2, 3, 4, 5], [0, 0, 0, 0]])
    weights = torch.tensor([[1.0, 7.0, 7.0, 7.0], [1.0, 2.0, 3.0, 4.0], [7.0, 7.0, 7.0, 7.0]])
    counted = weights[1] if weighted else torch.ones(4)
    long = counted @ embed.weight[2:6] / divisor(combiner, counted)
    expected = torch.stack([embed.weight[1], long, torch.zeros(4)]).detach()
    assert_close(embed(ids, weights if weighted else None), expected)


@pytest.mark.parametrize("combiner", COMBINERS)
def test_single_indices_are_not_reduced_and_only_sum_takes_their_weights(combiner: str) -> None:
    embed = layer(combiner)
    ids, weights = torch.tensor([1, 2]), torch.tensor([1.0, 2.0])
    rows = embed.weight[1:3].detach()
    assert_close(embed(ids), rows)
    assert_close(embed(ids, weights), rows * weights[:, None] if combiner == "sum" else rows)
    assert_close(embed(ids, weights * 0), torch.zeros(2, 4) if combiner == "sum" else rows)


def test_single_padding_is_the_zero_vector() -> None:
    embed = layer("mean", padding_idx=0)
    assert_close(embed(torch.tensor([0, 3])), torch.stack([torch.zeros(4), embed.weight[3].detach()]))


def test_without_padding_every_index_counts() -> None:
    embed = layer("mean")
    assert_close(embed(torch.tensor([[0, 1]])), embed.weight[:2].detach().mean(0, keepdim=True))


@pytest.mark.parametrize("combiner", COMBINERS)
def test_nothing_to_divide_by_is_zero_with_finite_gradients(combiner: str) -> None:
    embed = layer(combiner, padding_idx=0)
    ids = torch.tensor([[0, 0], [1, 2], [3, 4]])
    weights = torch.tensor([[1.0, 1.0], [0.0, 0.0], [1.0, -1.0]], requires_grad=True)
    y = embed(ids, weights)
    assert_close(y[:2], torch.zeros(2, 4))
    if combiner == "mean":
        assert_close(y[2], torch.zeros(4))
    y.sum().backward()
    assert embed.weight.grad is not None
    assert weights.grad is not None
    assert embed.weight.grad.isfinite().all()
    assert not embed.weight.grad[0].any()
    assert weights.grad.isfinite().all()


@pytest.mark.parametrize("combiner", COMBINERS)
def test_gradients_are_those_of_the_formula(combiner: str) -> None:
    embed = layer(combiner, padding_idx=0).double()
    ids = torch.tensor([[1, 2, 0], [3, 3, 4]])
    weights = (torch.rand(2, 3, dtype=torch.float64) + 0.5).requires_grad_()
    assert torch.autograd.gradcheck(lambda weights: embed(ids, weights), [weights])


def test_sparse_gradients_are_the_dense_ones() -> None:
    ids, weights = torch.tensor([[1, 2, 1], [3, 0, 0]]), torch.rand(2, 3)
    gradients = []
    for sparse in (False, True):
        embed = layer("mean", padding_idx=0, sparse=sparse)
        embed(ids, weights).square().sum().backward()
        assert embed.weight.grad is not None
        assert embed.weight.grad.is_sparse == sparse
        gradients.append(embed.weight.grad.to_dense() if sparse else embed.weight.grad)
    assert_close(*gradients)


def test_lists_without_any_index_are_zero() -> None:
    assert_close(layer("mean")(torch.zeros(2, 0, dtype=torch.int64)), torch.zeros(2, 4))


def test_rows_start_as_those_of_keras() -> None:
    table = EmbedReduce(1000, 8).weight
    assert table.abs().max() <= 0.05
    assert abs(table.std().item() - 0.1 / 12**0.5) < 0.001


def test_errors_carry_both_numbers() -> None:
    ids = torch.ones(2, 3, dtype=torch.int64)
    with pytest.raises(ValueError, match=r"shaped as ids \[2, 3\], got \[2, 4\]"):
        layer("mean")(ids, torch.ones(2, 4))
    with pytest.raises(ValueError, match=r"shaped as ids \[2, 3\], got \[2\]"):
        layer("mean")(ids, torch.ones(2))
    with pytest.raises(ValueError, match=r"\[batch\] or \[batch, length\], got \[2, 3, 1\]"):
        layer("mean")(ids.unsqueeze(-1))
    with pytest.raises(ValueError, match="one of mean, sum, sqrtn, got 'max'"):
        layer("max")
    with pytest.raises(ValueError, match=r"padding_idx must be from 0 to 9, .*got 10"):
        layer("mean", padding_idx=10)
    with pytest.raises(ValueError, match="at least 1, got 0 and 4"):
        EmbedReduce(0, 4)
