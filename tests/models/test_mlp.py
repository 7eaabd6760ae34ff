"""The multi-layer perceptron against values computed by TFRS."""

from typing import Any

import pytest
import torch
from torch import nn

from tests.models.golden import assert_close, cases, load
from torchtowers.models.mlp import MLP

CASES = cases("mlp")
ACTIVATIONS = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "linear": None, None: None}


def test_cases_are_there() -> None:
    assert CASES


def linears(mlp: MLP) -> list[nn.Linear]:
    return [module for module in mlp.layers if isinstance(module, nn.Linear)]


def built(config: dict[str, Any], params: dict[str, Any]) -> MLP:
    mlp = MLP(
        params["w0"].size(0),
        config["units"],
        activation=ACTIVATIONS[config["activation"]],
        final_activation=ACTIVATIONS[config["final_activation"]],
    )
    with torch.no_grad():
        for place, linear in enumerate(linears(mlp)):
            linear.weight.copy_(params[f"w{2 * place}"].T)
            linear.bias.copy_(params[f"w{2 * place + 1}"])
    return mlp


@pytest.mark.parametrize("name", CASES)
def test_outputs_are_those_of_tfrs(name: str) -> None:
    case = load(name)
    assert_close(built(case.config, case.params)(case.inputs["x"]), case.outputs["y"])


def test_activations_stand_between_the_layers_and_none_at_the_end() -> None:
    kinds = [type(module) for module in MLP(4, [3, 2, 1]).layers]
    assert kinds == [nn.Linear, nn.ReLU, nn.Linear, nn.ReLU, nn.Linear]
    kinds = [type(module) for module in MLP(4, [3, 1], activation=None, final_activation=nn.Sigmoid).layers]
    assert kinds == [nn.Linear, nn.Linear, nn.Sigmoid]


def test_each_layer_has_an_activation_of_its_own() -> None:
    mlp = MLP(4, [3, 2, 1], activation=nn.PReLU)
    assert mlp.layers[1] is not mlp.layers[3]


def test_layers_start_as_those_of_keras() -> None:
    (linear,) = linears(MLP(100, [200]))
    assert linear.weight.abs().max() <= (6 / 300) ** 0.5
    assert abs(linear.weight.std().item() - (2 / 300) ** 0.5) < 0.002
    assert not linear.bias.any()


def test_there_may_be_no_biases() -> None:
    assert all(linear.bias is None for linear in linears(MLP(4, [3, 2], use_bias=False)))


@pytest.mark.parametrize("name", ["activation", "final_activation"])
@pytest.mark.parametrize("value", [nn.ReLU(), "relu", torch.relu, torch.nn.functional.relu, lambda: "relu"])
def test_what_makes_no_activation_is_refused(name: str, value: Any) -> None:
    for units in ([1], [2, 1]):
        with pytest.raises(TypeError, match=rf"^{name} has to make a module .* without brackets, got "):
            MLP(4, units, **{name: value})


def test_errors_carry_the_numbers() -> None:
    with pytest.raises(ValueError, match="units is empty"):
        MLP(4, [])
    with pytest.raises(ValueError, match=r"at least 1, got in_dim 4 and units \[3, 0\]"):
        MLP(4, [3, 0])
    with pytest.raises(ValueError, match=r"at least 1, got in_dim 0 and units \[3\]"):
        MLP(0, [3])


def test_dropout_is_of_the_layers_before_the_last_in_training_only() -> None:
    torch.manual_seed(0)
    mlp, x = MLP(4, [64, 3], dropout=0.5), torch.randn(8, 4)
    plain = MLP(4, [64, 3])
    plain.load_state_dict(dict(zip(plain.state_dict(), mlp.state_dict().values(), strict=True)))
    torch.testing.assert_close(mlp.eval()(x), plain(x))
    outputs = [mlp.train()(x) for _ in range(2)]
    assert not torch.equal(*outputs)
    assert not (outputs[0] == 0).any()
