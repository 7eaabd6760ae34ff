"""Each layer as TorchScript and as ONNX with a dynamic batch, equal to eager, batch of one included."""

import io
import warnings
from collections.abc import Callable
from typing import Any

import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from torchtowers.models.cross import Cross
from torchtowers.models.dot_interaction import DotInteraction
from torchtowers.models.embed_reduce import EmbedReduce
from torchtowers.models.mlp import MLP
from torchtowers.models.multi_layer_dcn import MultiLayerDCN

OPSET = 18


def dense(batch: int) -> list[Any]:
    return [torch.randn(batch, 6)]


def dense_pair(batch: int) -> list[Any]:
    return [torch.randn(batch, 6), torch.randn(batch, 6)]


def features(batch: int) -> list[Any]:
    return [[torch.randn(batch, 6) for _ in range(4)]]


def index(batch: int) -> list[Any]:
    return [torch.randint(0, 9, (batch,))]


def lists(batch: int) -> list[Any]:
    return [torch.randint(0, 9, (batch, 5))]


def weighted_lists(batch: int) -> list[Any]:
    return [*lists(batch), torch.rand(batch, 5)]


Inputs = Callable[[int], list[Any]]

# By name: a layer, and what it is called with. ONNX takes seconds each, so the second part is scripted only.
LAYERS: dict[str, tuple[Callable[[], nn.Module], Inputs]] = {
    "cross": (lambda: Cross(6, diag_scale=0.5, preactivation=nn.Tanh()), dense_pair),
    "multi_layer_dcn": (lambda: MultiLayerDCN(6, projection_dim=2), dense),
    "dot_interaction": (lambda: DotInteraction(self_interaction=True), features),
    "dot_interaction_skip_gather": (lambda: DotInteraction(skip_gather=True), features),
    "mlp": (lambda: MLP(6, [5, 2], final_activation=nn.Sigmoid), dense),
    "embed_reduce": (lambda: EmbedReduce(9, 4, combiner="sqrtn", padding_idx=0), weighted_lists),
}
VARIANTS: dict[str, tuple[Callable[[], nn.Module], Inputs]] = {
    "cross_alone": (lambda: Cross(6), dense),
    "cross_low_rank": (lambda: Cross(6, projection_dim=2, use_bias=False), dense_pair),
    "dot_interaction_pairs": (lambda: DotInteraction(), features),
    "mlp_linear": (lambda: MLP(6, [3], use_bias=False), dense),
    "embed_reduce_mean": (lambda: EmbedReduce(9, 4), lists),
    "embed_reduce_sum": (lambda: EmbedReduce(9, 4, combiner="sum"), weighted_lists),
    "embed_reduce_index": (lambda: EmbedReduce(9, 4, padding_idx=0), index),
}


@pytest.mark.parametrize("name", [*LAYERS, *VARIANTS])
def test_torchscript_is_equal_to_eager(name: str) -> None:
    make, inputs = {**LAYERS, **VARIANTS}[name]
    layer = make().eval()
    file = io.BytesIO()
    torch.jit.save(torch.jit.script(layer), file)
    file.seek(0)
    scripted = torch.jit.load(file)  # type: ignore[no-untyped-call]
    for batch in (1, 2, 7):
        given = inputs(batch)
        # Twice and more, since TorchScript rewrites a graph after its first runs.
        for _ in range(3):
            torch.testing.assert_close(scripted(*given), layer(*given))


@pytest.mark.parametrize("name", LAYERS)
def test_onnx_is_equal_to_eager(name: str) -> None:
    make, inputs = LAYERS[name]
    layer = make().eval()
    session = exported(layer, inputs(2))
    for batch in (1, 2, 7):
        given = inputs(batch)
        tensors = flat(given)
        names = [value.name for value in session.get_inputs()]
        (answer,) = session.run(None, dict(zip(names, [tensor.numpy() for tensor in tensors], strict=True)))
        torch.testing.assert_close(torch.from_numpy(answer), layer(*given).detach(), rtol=1e-5, atol=1e-5)


def exported(layer: nn.Module, examples: list[Any]) -> onnxruntime.InferenceSession:
    batch = torch.export.Dim("batch")
    shapes = tuple(
        [{0: batch} for _ in example] if isinstance(example, list) else {0: batch} for example in examples
    )
    with warnings.catch_warnings():
        # torch's own, inside the exporter.
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.filterwarnings("ignore", message="# The axis name")
        program = torch.onnx.export(
            layer,
            tuple(examples),
            dynamo=True,
            opset_version=OPSET,
            dynamic_shapes=shapes,
            verbose=False,
        )
    assert program is not None
    return onnxruntime.InferenceSession(program.model_proto.SerializeToString())


def flat(given: list[Any]) -> list[Tensor]:
    return [tensor for value in given for tensor in (value if isinstance(value, list) else [value])]
