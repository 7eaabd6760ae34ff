"""The stack of cross layers against values computed by TFRS, and worked out by hand."""

from typing import Any

import pytest
import torch
from torch import nn

from tests.models.golden import assert_close, cases, load
from torchtowers.models.multi_layer_dcn import MultiLayerDCN

CASES = cases("multi_layer_dcn_")


def test_cases_are_there() -> None:
    assert CASES


def built(config: dict[str, Any], params: dict[str, Any]) -> MultiLayerDCN:
    stack = MultiLayerDCN(params["u0"].size(0), **config)
    weights = {}
    for position in range(config["num_layers"]):
        weights[f"layers.{position}.projection.weight"] = params[f"u{position}"].T
        weights[f"layers.{position}.linear.weight"] = params[f"v{position}"].T
        if config["use_bias"]:
            weights[f"layers.{position}.linear.bias"] = params[f"b{position}"]
    stack.load_state_dict(weights)
    return stack


@pytest.mark.parametrize("name", CASES)
def test_outputs_and_gradients_are_those_of_tfrs(name: str) -> None:
    case = load(name)
    x0 = case.inputs["x0"].requires_grad_()
    y = built(case.config, case.params)(x0)
    y.square().sum().backward()
    assert_close(y, case.outputs["y"])
    assert_close(x0.grad, case.outputs["grad_x0"])


@pytest.mark.parametrize(
    ("projection_dim", "num_layers", "use_bias", "expected"),
    [
        (3, 1, False, [[0.28, 0.56, 0.84]]),
        (1, 1, False, [[0.16, 0.32, 0.48]]),
        (1, 3, True, [[0.9256, 1.8512, 2.7768]]),
    ],
)
def test_values_worked_out_by_hand(
    projection_dim: int, num_layers: int, use_bias: bool, expected: list[list[float]]
) -> None:
    stack = MultiLayerDCN(3, projection_dim=projection_dim, num_layers=num_layers, use_bias=use_bias)
    for parameter in stack.parameters():
        nn.init.ones_(parameter)
    assert_close(stack(torch.tensor([[0.1, 0.2, 0.3]])), torch.tensor(expected))


def test_tfrs_defaults() -> None:
    stack = MultiLayerDCN(4)
    assert len(stack.layers) == 3
    assert stack.state_dict()["layers.2.projection.weight"].shape == (1, 4)
    assert stack.state_dict()["layers.2.linear.bias"].shape == (4,)


def test_errors_carry_the_number() -> None:
    with pytest.raises(ValueError, match="num_layers must be at least 1, got 0"):
        MultiLayerDCN(4, num_layers=0)
    with pytest.raises(ValueError, match=r"projection_dim must be at least 1.*got 0"):
        MultiLayerDCN(4, projection_dim=0)
    with pytest.raises(ValueError, match="widths of 4, got x0 of 3"):
        MultiLayerDCN(4)(torch.ones(2, 3))
