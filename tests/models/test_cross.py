"""The cross layer against values computed by TFRS and Keras-RS, and worked out by hand."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.models.golden import assert_close, cases, load
from torchtowers.models.cross import Cross

CASES = cases("cross_", "krs_feature_cross")
ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "swish": nn.SiLU}

X0 = torch.tensor([[0.1, 0.2, 0.3]])
X = torch.tensor([[0.4, 0.5, 0.6]])


def test_cases_are_there() -> None:
    assert CASES


def kernels(params: dict[str, Any]) -> list[Tensor]:
    return [value for name, value in sorted(params.items()) if "kernel" in name]


def linears(layer: Cross) -> list[nn.Linear]:
    return [module for module in (layer.projection, layer.linear) if isinstance(module, nn.Linear)]


def built(config: dict[str, Any], params: dict[str, Any]) -> Cross:
    activation = config.get("preactivation", config.get("pre_activation"))
    biases = [value for name, value in params.items() if "bias" in name]
    layer = Cross(
        kernels(params)[-1].size(1),
        projection_dim=config["projection_dim"],
        diag_scale=config["diag_scale"],
        use_bias=bool(biases),
        preactivation=ACTIVATIONS[activation]() if activation else None,
    )
    with torch.no_grad():
        for linear, kernel in zip(linears(layer), kernels(params), strict=True):
            linear.weight.copy_(kernel.T)
        if biases:
            layer.linear.bias.copy_(biases[0])
    return layer


@pytest.mark.parametrize("name", CASES)
def test_outputs_and_gradients_are_those_of_tfrs(name: str) -> None:
    case = load(name)
    layer = built(case.config, case.params)
    inputs = {key: value.requires_grad_() for key, value in case.inputs.items()}
    y = layer(**inputs)
    y.square().sum().backward()
    gradients = {f"grad_{key}": value.grad for key, value in inputs.items()}
    names = ["grad_kernel"] if len(linears(layer)) == 1 else ["grad_kernel_u", "grad_kernel_v"]
    for key, linear in zip(names, linears(layer), strict=True):
        assert linear.weight.grad is not None
        gradients[key] = linear.weight.grad.T
    if "grad_bias" in case.outputs:
        gradients["grad_bias"] = layer.linear.bias.grad
    assert_close(y, case.outputs.pop("y"))
    for key, expected in case.outputs.items():
        assert_close(gradients[key], expected)


def ones(*, bias: float = 0.0, projection_dim: int | None = None, diag_scale: float = 0.0) -> Cross:
    layer = Cross(3, projection_dim=projection_dim, diag_scale=diag_scale)
    for linear in linears(layer):
        nn.init.ones_(linear.weight)
    nn.init.constant_(layer.linear.bias, bias)
    return layer


def test_values_worked_out_by_hand() -> None:
    assert_close(ones()(X0, X), torch.tensor([[0.55, 0.8, 1.05]]))
    assert_close(ones(projection_dim=1)(X0, X), torch.tensor([[0.55, 0.8, 1.05]]))
    assert_close(ones()(X0), torch.tensor([[0.16, 0.32, 0.48]]))
    assert_close(ones(bias=1.0)(X0, X), torch.tensor([[0.65, 1.0, 1.35]]))
    assert_close(ones(diag_scale=1.0)(X0, X), torch.tensor([[0.59, 0.9, 1.23]]))


class Zeros(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x)


def test_the_activation_comes_before_the_diagonal() -> None:
    assert_close(Cross(3, preactivation=Zeros())(X0, X), X)
    assert_close(Cross(3, preactivation=Zeros(), diag_scale=2.0)(X0, X), X0 * 2 * X + X)


def test_kernels_start_as_those_of_tfrs() -> None:
    layer = Cross(256)
    assert layer.linear.weight.abs().max() <= 0.1
    # A normal of 0.05 that is cut off at two deviations has 0.88 of it.
    assert abs(layer.linear.weight.std().item() - 0.044) < 0.001
    assert not layer.linear.bias.any()


def test_a_low_rank_has_one_bias_and_may_have_none() -> None:
    names = {name for name, _ in Cross(4, projection_dim=2).named_parameters()}
    assert names == {"projection.weight", "linear.weight", "linear.bias"}
    assert "linear.bias" not in dict(Cross(4, projection_dim=2, use_bias=False).named_parameters())


@pytest.mark.parametrize("value", [nn.Tanh, "tanh", torch.tanh])
def test_an_activation_that_is_no_module_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match=r"a module, such as nn.Tanh\(\), got"):
        Cross(3, preactivation=value)


def test_errors_carry_both_numbers() -> None:
    with pytest.raises(ValueError, match="widths of 5, got x0 of 5 and x of 7"):
        Cross(5)(torch.ones(12, 5), torch.ones(12, 7))
    with pytest.raises(ValueError, match="widths of 5, got x0 of 4 and x of 4"):
        Cross(5)(torch.ones(12, 4))
    with pytest.raises(ValueError, match=r"diag_scale must be at least 0, got -1\.0"):
        Cross(5, diag_scale=-1.0)
    with pytest.raises(ValueError, match="dim must be at least 1, got 0"):
        Cross(0)
    with pytest.raises(
        ValueError, match="projection_dim must be at least 1, or None for a full matrix, got 0"
    ):
        Cross(5, projection_dim=0)
