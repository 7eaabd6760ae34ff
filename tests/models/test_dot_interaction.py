"""Dot products of pairs against values computed by TFRS and Keras-RS, and worked out by hand."""

import pytest
import torch

from tests.models.golden import assert_close, cases, load
from torchtowers.models.dot_interaction import DotInteraction

CASES = cases("dot_interaction_", "krs_dot_interaction_")

FEATURES = [
    torch.tensor([[0.1, -4.3, 0.2, 1.1, 0.3]]),
    torch.tensor([[2.0, 3.2, -1.0, 0.0, 1.0]]),
    torch.tensor([[0.0, 1.0, -3.0, -2.2, -0.2]]),
]
F11, F12, F22, F13, F23, F33 = 19.84, -13.46, 16.24, -7.38, 6.0, 14.88


def test_cases_are_there() -> None:
    assert CASES


@pytest.mark.parametrize("name", CASES)
def test_outputs_and_gradients_are_those_of_tfrs(name: str) -> None:
    case = load(name)
    features = [case.inputs[f"x{place}"].requires_grad_() for place in range(len(case.inputs))]
    y = DotInteraction(**case.config)(features)
    y.square().sum().backward()
    assert_close(y, case.outputs.pop("y"))
    for key, expected in case.outputs.items():
        assert_close(features[int(key.removeprefix("grad_x"))].grad, expected)


@pytest.mark.parametrize(
    ("self_interaction", "skip_gather", "expected"),
    [
        (True, False, [F11, F12, F22, F13, F23, F33]),
        (True, True, [F11, 0, 0, F12, F22, 0, F13, F23, F33]),
        (False, False, [F12, F13, F23]),
        (False, True, [0, 0, 0, F12, 0, 0, F13, F23, 0]),
    ],
)
def test_values_worked_out_by_hand(self_interaction: bool, skip_gather: bool, expected: list[float]) -> None:
    layer = DotInteraction(self_interaction=self_interaction, skip_gather=skip_gather)
    assert_close(layer(FEATURES), torch.tensor([expected]))


@pytest.mark.parametrize("skip_gather", [False, True])
@pytest.mark.parametrize("self_interaction", [False, True])
def test_stacked_features_are_those_of_a_list(self_interaction: bool, skip_gather: bool) -> None:
    layer = DotInteraction(self_interaction=self_interaction, skip_gather=skip_gather)
    stacked = torch.randn(3, 4, 5)
    assert torch.equal(layer(stacked), layer(list(stacked.unbind(1))))
    assert layer(stacked[:0]).shape == (0, layer(stacked).size(1))


@pytest.mark.parametrize("self_interaction", [False, True])
def test_the_gradient_is_that_of_finite_differences(self_interaction: bool) -> None:
    stacked = torch.randn(2, 4, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(DotInteraction(self_interaction=self_interaction), stacked)


@pytest.mark.parametrize("self_interaction", [False, True])
def test_second_derivatives_are_those_of_finite_differences(self_interaction: bool) -> None:
    stacked = torch.randn(2, 4, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(DotInteraction(self_interaction=self_interaction), stacked)


@pytest.mark.parametrize("self_interaction", [False, True])
def test_a_penalty_of_the_gradient_counts(self_interaction: bool) -> None:
    x = torch.tensor([[[1.0, 3.0], [0.0, 2.0]]], requires_grad=True)
    (gradient,) = torch.autograd.grad(
        DotInteraction(self_interaction=self_interaction)(x).sum(), x, create_graph=True
    )
    gradient.square().sum().backward()  # type: ignore[no-untyped-call]
    # The products' sum is x'Ax / 2, so that the gradient is Ax, and that of its square 2 AAx.
    a = torch.tensor([[2.0, 1.0], [1.0, 2.0]] if self_interaction else [[0.0, 1.0], [1.0, 0.0]])
    assert x.grad is not None
    torch.testing.assert_close(x.grad[0], 2 * a @ a @ x.detach()[0])


def test_functional_transforms_agree() -> None:
    layer, stacked = DotInteraction(), torch.randn(5, 2, 3, 4)
    wanted = stacked.clone().requires_grad_()
    torch.stack([layer(each) for each in wanted]).sum().backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(torch.vmap(layer)(stacked), torch.stack([layer(each) for each in stacked]))
    for vectorized in (torch.func.grad, lambda function: torch.vmap(torch.func.grad(function))):
        given = stacked[0] if vectorized is torch.func.grad else stacked
        gradient = vectorized(lambda each: layer(each).sum())(given)
        assert wanted.grad is not None
        torch.testing.assert_close(gradient, wanted.grad[0] if given.dim() == 3 else wanted.grad)


def test_it_trains_under_autocast() -> None:
    stacked = torch.randn(2, 4, 3, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        y = DotInteraction()(stacked)
        y.sum().backward()
    assert y.dtype == torch.bfloat16
    assert stacked.grad is not None
    # A sum of all products gives each feature the sum of the others.
    expected = stacked.detach().sum(1, keepdim=True) - stacked.detach()
    torch.testing.assert_close(stacked.grad, expected, rtol=0, atol=0.05)


def test_one_feature_has_no_pair() -> None:
    assert DotInteraction()(FEATURES[:1]).shape == (1, 0)
    assert_close(DotInteraction(self_interaction=True)(FEATURES[:1]), torch.tensor([[F11]]))


def test_an_empty_batch_stays_empty() -> None:
    assert DotInteraction()([torch.ones(0, 4)] * 3).shape == (0, 3)


def test_errors_carry_both_shapes() -> None:
    with pytest.raises(ValueError, match=r"the first is \[1, 5\], number 3 is \[1, 2\]"):
        DotInteraction()([*FEATURES[:2], torch.ones(1, 2)])
    with pytest.raises(ValueError, match=r"the first is \[1, 5\], number 2 is \[2, 5\]"):
        DotInteraction()([FEATURES[0], torch.ones(2, 5)])
    with pytest.raises(ValueError, match=r"must all be \[batch, dim\].*the first is \[5\]"):
        DotInteraction()([torch.ones(5), torch.ones(5)])
    with pytest.raises(ValueError, match=r"\[batch, features, dim\], at least one, got \[1, 0, 5\]"):
        DotInteraction()(torch.ones(1, 0, 5))
    with pytest.raises(ValueError, match="no features"):
        DotInteraction()([])
