"""Pairwise losses against Keras-RS 0.4.0 itself, against values worked out by hand, and their promises."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.models import golden
from torchtowers.models import pairwise_losses
from torchtowers.models.lists import as_lists, item_weights
from torchtowers.models.pairwise_losses import (
    PairwiseHingeLoss,
    PairwiseLogisticLoss,
    PairwiseMeanSquaredError,
    PairwiseSoftZeroOneLoss,
    pairwise_hinge_loss,
    pairwise_logistic_loss,
    pairwise_mean_squared_error,
    pairwise_soft_zero_one_loss,
)
from torchtowers.models.reduction import reduce

Loss = Callable[..., Tensor]
LOSSES: list[Loss] = [
    pairwise_hinge_loss,
    pairwise_logistic_loss,
    pairwise_mean_squared_error,
    pairwise_soft_zero_one_loss,
]
MODULES = [PairwiseHingeLoss, PairwiseLogisticLoss, PairwiseMeanSquaredError, PairwiseSoftZeroOneLoss]
CASES = golden.cases("krs_Pairwise")

SCORES = torch.tensor([[1, 3, 2, 4, 0.8], [1, 1.8, 2, 3, 2]])
LABELS = torch.tensor([[1, 0, 1, 3, 2], [0, 1, 2, 3, 1.5]])

any_loss = pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.__name__)


def close(actual: Tensor, expected: Any) -> None:
    torch.testing.assert_close(actual.detach(), torch.as_tensor(expected), rtol=1e-5, atol=1e-5)


def test_cases_are_there() -> None:
    assert len(CASES) == 28


@pytest.mark.parametrize("name", CASES)
def test_loss_and_gradient_are_those_of_keras_rs(name: str) -> None:
    case = golden.load(name)
    module: type[nn.Module] = getattr(pairwise_losses, name.split("_")[1])
    scores = case.inputs["y_pred"].requires_grad_()
    loss = module(**case.config)(
        scores, case.inputs["y_true"], case.inputs.get("mask"), case.inputs.get("sample_weight")
    )
    loss.sum().backward()
    close(loss, case.outputs["loss"])
    close(scores.grad, case.outputs["grad"])


@pytest.mark.parametrize(
    ("loss", "expected", "mean"),
    [
        (pairwise_hinge_loss, [[3, 0, 2, 0, 6.6], [0, 0.2, 1.8, 0, 0.8]], 1.44),
        (
            pairwise_logistic_loss,
            [[2.126928, 0, 1.313262, 0.52873, 4.566504], [0, 0.371101, 1.604548, 1.016734, 0.9114]],
            1.243921,
        ),
        (
            pairwise_soft_zero_one_loss,
            [[0.880797, 0, 0.731059, 0.474736, 2.218608], [0, 0.310025, 1.219108, 0.888561, 0.719108]],
            0.7442,
        ),
        (
            pairwise_mean_squared_error,
            [[12.44, 34.64, 9.84, 9.84, 28.76], [2.29, 1.41, 1.89, 1.89, 0.84]],
            10.384,
        ),
    ],
)
def test_values_worked_out_by_hand(loss: Loss, expected: list[list[float]], mean: float) -> None:
    close(loss(SCORES, LABELS, reduction="none"), expected)
    close(loss(SCORES, LABELS, reduction="sum"), mean * 10)
    close(loss(SCORES, LABELS), mean)
    # A list of its own, without a batch.
    close(loss(SCORES[1], LABELS[1], reduction="none"), expected[1])


def test_temperature_sharpens() -> None:
    expected = [[5, 0, 3, 0, 10.2], [0, 0, 1.6, 0, 0.6]]
    close(pairwise_hinge_loss(SCORES, LABELS, temperature=0.5, reduction="none"), expected)
    squared = pairwise_mean_squared_error(SCORES, LABELS, temperature=0.5)
    close(squared, pairwise_mean_squared_error(SCORES, LABELS))


def test_masked_items_form_no_pairs() -> None:
    mask = torch.tensor([[True] * 5, [True, True, True, False, False]])
    losses = pairwise_hinge_loss(SCORES, LABELS, mask, reduction="none")
    close(losses[1], [0, 0.2, 0.8, 0, 0])


@any_loss
def test_weights_of_any_shape(loss: Loss) -> None:
    plain = loss(SCORES, LABELS, reduction="none")
    by_list, by_item = torch.tensor([2.0, 0.5]), torch.arange(10.0).view(2, 5)
    for weights, spread in [
        (torch.tensor(3.0), torch.tensor(3.0)),
        (by_list, by_list[:, None]),
        (by_list[:, None], by_list[:, None]),
        (by_item, by_item),
    ]:
        close(loss(SCORES, LABELS, sample_weight=weights, reduction="none"), plain * spread)
    alone = loss(SCORES[0], LABELS[0], sample_weight=by_item[0], reduction="none")
    close(alone, plain[0] * by_item[0])


@any_loss
@pytest.mark.parametrize("ignored", [float("nan"), float("inf"), 1e30])
def test_an_ignored_item_reaches_neither_loss_nor_gradient(loss: Loss, ignored: float) -> None:
    scores = torch.tensor([[0.5, ignored, -1.0, ignored]], requires_grad=True)
    total = loss(
        scores,
        torch.tensor([[0, 3, 2, -1]]),
        torch.tensor([[True, False, True, True]]),
        reduction="sum",
    )
    torch.autograd.backward(total)
    without = torch.tensor([[0.5, -1.0]], requires_grad=True)
    expected = loss(without, torch.tensor([[0, 2]]), reduction="sum")
    torch.autograd.backward(expected)
    close(total, expected.detach())
    assert scores.grad is not None
    assert without.grad is not None
    close(scores.grad[0, [0, 2]], without.grad[0])
    close(scores.grad[0, [1, 3]], [0.0, 0.0])


@any_loss
def test_nothing_to_compare_costs_nothing(loss: Loss) -> None:
    assert float(loss(torch.randn(2, 3), torch.full((2, 3), -1))) == 0
    assert float(loss(torch.randn(2, 1), torch.ones(2, 1))) == 0
    assert float(loss(torch.empty(0, 3), torch.empty(0, 3))) == 0


@any_loss
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_the_order_of_a_list_makes_no_difference(loss: Loss, data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 6))
    numbers = st.integers(-40, 40).map(lambda number: number / 8)
    scores = torch.tensor(data.draw(st.lists(numbers, min_size=size, max_size=size)))
    labels = torch.tensor(data.draw(st.lists(st.integers(-1, 3), min_size=size, max_size=size)))
    order = torch.tensor(data.draw(st.permutations(range(size))))
    close(loss(scores[order], labels[order], reduction="none"), loss(scores, labels, reduction="none")[order])


@pytest.mark.parametrize("module", MODULES)
def test_scripted_equals_eager(module: type[nn.Module]) -> None:
    loss = module(reduction="none", temperature=0.7)
    scripted = torch.jit.script(loss)
    weights = torch.tensor([2.0, 0.5])
    close(scripted(SCORES, LABELS, LABELS > 0, weights), loss(SCORES, LABELS, LABELS > 0, weights))
    close(scripted(SCORES[:1], LABELS[:1]), loss(SCORES[:1], LABELS[:1]))


@any_loss
def test_errors_say_what_came(loss: Loss) -> None:
    with pytest.raises(ValueError, match=r"labels \[2, 4\] and scores \[2, 5\] need the same shape"):
        loss(SCORES, LABELS[:, :4])
    with pytest.raises(ValueError, match=r"mask \[5\] and scores \[2, 5\]"):
        loss(SCORES, LABELS, torch.ones(5, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"scores have shape \[2, 5, 1\]; give"):
        loss(SCORES[..., None], LABELS[..., None])
    with pytest.raises(ValueError, match=r"sample_weight has shape \[5\], scores have \[2, 5\]"):
        loss(SCORES, LABELS, sample_weight=torch.ones(5))
    with pytest.raises(ValueError, match=r"temperature is 0\.0; give a number above 0"):
        loss(SCORES, LABELS, temperature=0.0)
    with pytest.raises(ValueError, match='reduction is "average"; use'):
        loss(SCORES, LABELS, reduction="average")


def test_labels_of_any_type() -> None:
    integers = torch.tensor([1, 0, 1])
    for labels in (integers, integers.bool(), integers.double()):
        close(pairwise_mean_squared_error(SCORES[0, :3], labels), 28 / 3)
        scores, converted, _ = as_lists(SCORES[0, :3], labels)
        assert converted.dtype == scores.dtype == torch.float32


def test_reduction_of_nothing_is_zero() -> None:
    assert float(reduce(torch.empty(0), "mean")) == 0


def test_one_weight_for_a_single_list_is_the_whole_list_s() -> None:
    assert item_weights(torch.tensor(2.0), torch.zeros(3)).tolist() == [[2.0, 2.0, 2.0]]
