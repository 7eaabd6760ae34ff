"""ListMLE against Keras-RS 0.4.0 itself, against values worked out by hand, and its promises."""

import math
from itertools import permutations
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.models import golden
from torchtowers.models.listwise_losses import ListMLELoss, list_mle_loss

CASES = golden.cases("krs_ListMLELoss")

SCORES = torch.tensor([[1, 3, 2, 4, 0.8], [1, 1.8, 2, 3, 2]])
LABELS = torch.tensor([[1, 0, 1, 3, 2], [0, 1, 2, 3, 1.5]])


def close(actual: Tensor, expected: Any) -> None:
    torch.testing.assert_close(actual.detach(), torch.as_tensor(expected), rtol=1e-5, atol=1e-5)


def test_cases_are_there() -> None:
    assert len(CASES) == 7


@pytest.mark.parametrize("name", CASES)
def test_loss_and_gradient_are_those_of_keras_rs(name: str) -> None:
    case = golden.load(name)
    scores = case.inputs["y_pred"].requires_grad_()
    loss = ListMLELoss(**case.config)(
        scores, case.inputs["y_true"], case.inputs.get("mask"), case.inputs.get("sample_weight")
    )
    loss.sum().backward()
    close(loss, case.outputs["loss"])
    close(scores.grad, case.outputs["grad"])


def test_values_worked_out_by_hand() -> None:
    close(list_mle_loss(SCORES, LABELS, reduction="none"), [6.865693, 3.088192])
    close(list_mle_loss(SCORES, LABELS, temperature=0.5, reduction="none"), [10.969891, 2.1283305])
    close(list_mle_loss(SCORES, LABELS), 4.9769425)
    close(list_mle_loss(SCORES, LABELS, reduction="sum"), 9.953885)
    close(list_mle_loss(SCORES[0], LABELS[0], reduction="none"), 6.865693)


def test_an_order_that_is_sure_costs_nothing_however_far_apart_the_scores_are() -> None:
    """Keras-RS charges 60 - 23 for the 1e-10 that it adds inside the logarithm."""
    scores = torch.tensor([[0.0, -60.0]], requires_grad=True)
    loss = list_mle_loss(scores, torch.tensor([[1, 0]]))
    torch.autograd.backward(loss)
    close(loss, 0.0)
    close(scores.grad, [[0.0, 0.0]])  # type: ignore[arg-type]
    close(list_mle_loss(torch.tensor([[-300.0, 0.0, 300.0]]), torch.tensor([[2, 1, 0]])), 900.0)


def test_equal_labels_keep_their_order() -> None:
    scores = torch.tensor([1.0, 0.0])
    close(list_mle_loss(scores, torch.tensor([1, 1])), math.log(1 + math.exp(-1)))
    close(list_mle_loss(scores.flip(0), torch.tensor([1, 1])), math.log(1 + math.exp(1)))


@pytest.mark.parametrize("ignored", [float("nan"), float("inf"), 1e30])
def test_an_ignored_item_reaches_neither_loss_nor_gradient(ignored: float) -> None:
    scores = torch.tensor([[0.5, ignored, -1.0, ignored], [ignored] * 4], requires_grad=True)
    labels = torch.tensor([[0, 3, 2, -1], [-1, -1, -1, -1]])
    mask = torch.tensor([[True, False, True, True], [True] * 4])
    losses = list_mle_loss(scores, labels, mask, reduction="none")
    torch.autograd.backward(losses.sum())
    close(losses, [math.log(1 + math.exp(1.5)), 0.0])
    share = 1 / (1 + math.exp(-1.5))
    close(scores.grad, [[share, 0, -share, 0], [0, 0, 0, 0]])  # type: ignore[arg-type]


def test_gradients_are_those_of_finite_differences() -> None:
    scores = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([[3, 1, -1, 2], [0, 1, 2, 3], [1, 1, 0, -1]])
    assert torch.autograd.gradcheck(lambda given: list_mle_loss(given, labels, temperature=0.5), (scores,))


def test_weights_of_lists() -> None:
    weights = torch.tensor([2.0, 0.5])
    expected = [2 * 6.865693, 0.5 * 3.088192]
    for shaped in (weights, weights[:, None]):
        close(list_mle_loss(SCORES, LABELS, sample_weight=shaped, reduction="none"), expected)
    close(list_mle_loss(SCORES[0], LABELS[0], sample_weight=torch.tensor(2.0)), expected[0])
    with pytest.raises(ValueError, match=r"sample_weight has shape \[2, 5\] for 2 lists"):
        list_mle_loss(SCORES, LABELS, sample_weight=torch.ones(2, 5))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(-40, 40).map(lambda number: number / 8), min_size=1, max_size=4))
def test_the_likelihoods_of_all_orders_sum_to_one(scores: list[float]) -> None:
    size = len(scores)
    orders = torch.tensor(list(permutations(range(size))))
    losses = list_mle_loss(torch.tensor([scores] * len(orders)), orders, reduction="none")
    assert float(torch.exp(-losses.double()).sum()) == pytest.approx(1, abs=1e-5)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_the_order_of_a_list_makes_no_difference_without_ties(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 6))
    numbers = st.integers(-40, 40).map(lambda number: number / 8)
    scores = torch.tensor(data.draw(st.lists(numbers, min_size=size, max_size=size)))
    labels = torch.tensor(data.draw(st.permutations(range(size))))
    order = torch.tensor(data.draw(st.permutations(range(size))))
    close(list_mle_loss(scores[order], labels[order]), list_mle_loss(scores, labels))


def test_half_precision_is_computed_in_single() -> None:
    loss = list_mle_loss(SCORES.half(), LABELS)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, torch.tensor(4.9769425), rtol=1e-3, atol=1e-3)


def test_scripted_equals_eager() -> None:
    loss = ListMLELoss(temperature=0.7, reduction="none")
    scripted = torch.jit.script(loss)
    weights = torch.tensor([2.0, 0.5])
    close(scripted(SCORES, LABELS, LABELS > 0, weights), loss(SCORES, LABELS, LABELS > 0, weights))
    close(scripted(SCORES[:1], LABELS[:1]), loss(SCORES[:1], LABELS[:1]))


def test_empty_batch_costs_nothing() -> None:
    assert float(list_mle_loss(torch.empty(0, 3), torch.empty(0, 3))) == 0
    assert float(list_mle_loss(torch.empty(2, 0), torch.empty(2, 0))) == 0


def test_errors_say_what_came() -> None:
    with pytest.raises(ValueError, match=r"labels \[2, 4\] and scores \[2, 5\]"):
        list_mle_loss(SCORES, LABELS[:, :4])
    with pytest.raises(ValueError, match=r"temperature is -1\.0; give a number above 0"):
        list_mle_loss(SCORES, LABELS, temperature=-1.0)
    with pytest.raises(ValueError, match='reduction is "average"'):
        list_mle_loss(SCORES, LABELS, reduction="average")
