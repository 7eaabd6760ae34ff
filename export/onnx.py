"""A tower as ONNX with a dynamic batch."""

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from torchtowers.export.errors import ExportError
from torchtowers.handlers.encoders import Encoder, TensorSpec, tensor_names
from torchtowers.handlers.signature import SIDE

__all__ = [
    "LARGEST",
    "OPSET",
    "Positional",
    "examples_of",
    "export_onnx",
    "import_onnx",
    "name_ends",
    "onnx_model",
    "save_onnx",
]

OPSET = 18
# What torch translates to.
_OPSETS = range(18, 24)

_OUTPUT = "embeddings"
# Of a protobuf message, in bytes.
_MOST = 2**31
# Half of it is left to what can only be inside, such as vocabularies.
LARGEST = _MOST // 2


class Positional(nn.Module):
    """A tower that takes its features one by one, since an ONNX graph has no mappings."""

    def __init__(self, tower: nn.Module, names: tuple[str, ...]) -> None:
        super().__init__()
        self.tower = tower
        self.names = names

    def forward(self, *features: Tensor) -> Tensor:
        """Give what the tower gives."""
        embeddings: Tensor = self.tower(dict(zip(self.names, features, strict=True)))
        return embeddings


def export_onnx(
    tower: nn.Module,
    encoders: Mapping[str, Encoder],
    path: Path,
    *,
    opset: int = OPSET,
    largest: int = LARGEST,
) -> None:
    """Write a tower as an ONNX file with an input for each tensor and the output `embeddings`.

    Batch and lengths are dynamic: int64 `[batch]` or `[batch, length]`, or float32 in, float32 out.

    Args:
        tower: In evaluation mode.
        encoders: By feature; they tell the inputs.
        path: The `.onnx` file.
        opset: The version of ONNX's operators, from 18 on.
        largest: Bytes of weights from which on they are beside the file, in `NAME.onnx.data`.

    Raises:
        ExportError: The tower is in training mode, a feature has the output's name, torch knows no such
            opset, or onnx and onnxscript are not installed.
    """
    if tower.training:
        raise ExportError("the tower is in training mode: call eval() before it is exported")
    if _OUTPUT in encoders:
        raise ExportError(f"a feature can't be called {_OUTPUT} in ONNX, as the output is: rename the column")
    import_onnx()
    names = tensor_names(encoders)
    model = onnx_model(Positional(tower, tuple(names)), *examples_of(encoders), opset)
    name_ends(model.graph, names, [_OUTPUT])
    save_onnx(model, path, largest=largest)


def import_onnx() -> Any:
    """Import onnx, if all is there that exporting to ONNX needs.

    Raises:
        ExportError: onnx or onnxscript is not installed.
    """
    try:
        import onnx
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ExportError(
            f"exporting to ONNX needs onnx and onnxscript ({error}): pip install 'torchtowers[onnx]'"
        ) from error
    return onnx


def save_onnx(model: Any, path: Path, *, largest: int = LARGEST) -> None:
    """Write an ONNX model, its weights beside it, in `NAME.onnx.data`, where they are too large for one file.

    Args:
        model: Its protobuf; weights that go beside are taken out of it.
        path: The `.onnx` file.
        largest: Bytes of weights from which on they go beside.

    Raises:
        ExportError: Also what is not weights, such as vocabularies, is too large for a file.
    """
    onnx = import_onnx()
    weights = sum(len(tensor.raw_data) for tensor in model.graph.initializer)
    side = {"save_as_external_data": True, "location": path.name + SIDE} if weights >= largest else {}
    onnx.save_model(model, path, **side)
    size = path.stat().st_size
    if size >= _MOST:
        raise ExportError(
            f"{path.name} would be {size:,} bytes without its weights, and an ONNX file holds less than "
            f"{_MOST:,}: export with --format torchscript, or with smaller vocabularies"
        )
    onnx.checker.check_model(path)


def examples_of(encoders: Mapping[str, Encoder]) -> tuple[list[Tensor], list[dict[int, Any]]]:
    """Give an example of each tensor, and its dynamic dimensions, as `torch.export` wants them."""
    batch = torch.export.Dim("batch")
    examples: list[Tensor] = []
    shapes: list[dict[int, Any]] = []
    for position, encoder in enumerate(encoders.values()):
        length = torch.export.Dim(f"length_{position}")
        for spec in encoder.tensors:
            examples.append(_example(spec))
            shapes.append({0: batch, 1: length} if spec.is_ragged else {0: batch})
    return examples, shapes


def onnx_model(
    module: nn.Module, examples: Sequence[Tensor], shapes: Sequence[dict[int, Any]], opset: int
) -> Any:
    """Give the ONNX model of a module that takes its tensors by position.

    Args:
        module: Of one output.
        examples: A tensor for each input.
        shapes: Their dynamic dimensions.
        opset: The version of ONNX's operators.

    Raises:
        ExportError: torch knows no such opset, or gave no model.
    """
    if opset not in _OPSETS:
        raise ExportError(
            f"opset has to be from {_OPSETS[0]} to {_OPSETS[-1]}, which torch translates to, got {opset}"
        )
    with _quiet():
        program = torch.onnx.export(
            module.eval(),
            tuple(examples),
            dynamo=True,
            opset_version=opset,
            dynamic_shapes=(tuple(shapes),),
            verbose=False,
        )
    if program is None:
        raise ExportError("torch gave no ONNX program for the model")
    model = program.model_proto
    _drop_source_places(model)
    return model


def _example(spec: TensorSpec) -> Tensor:
    # Sizes of 0 and 1 would be taken for constants; a width is one.
    sizes = [{"batch": 2, "length": 3}[size] if isinstance(size, str) else size for size in spec.shape]
    return torch.ones(sizes, dtype=torch.int64 if spec.dtype == "int64" else torch.float32)


def _drop_source_places(model: Any) -> None:
    """Remove the notes on source files and stack traces, which hold paths of the exporting machine."""
    for holder in (
        model,
        model.graph,
        *model.graph.node,
        *model.graph.value_info,
        *model.graph.input,
        *model.graph.output,
        *model.graph.initializer,
    ):
        holder.ClearField("doc_string")
        holder.ClearField("metadata_props")


def name_ends(
    graph: Any, inputs: Sequence[str], outputs: Sequence[str], reserved: Sequence[str] = ()
) -> None:
    """Name inputs and outputs; a value inside that has such a name by chance gets another one."""
    names = {value.name: name for value, name in zip(graph.input, inputs, strict=True)}
    names.update({value.name: name for value, name in zip(graph.output, outputs, strict=True)})
    inside = {tensor.name for tensor in graph.initializer}
    inside.update(name for node in graph.node for name in node.output)
    taken = {*inputs, *outputs, *reserved}
    for name in sorted(inside - names.keys()):
        new = name
        while new in taken:
            new += "_"
        taken.add(new)
        names[name] = new
    for value in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
        value.name = names.get(value.name, value.name)
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep torch's notes to its own developers off the user's screen."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.filterwarnings("ignore", message="# The axis name")
            # Of every nn.GRU, whose weights are kept a second time for cuDNN.
            warnings.filterwarnings("ignore", message="The tensor attributes .*_flat_weights")
            yield
    finally:
        logger.setLevel(level)
