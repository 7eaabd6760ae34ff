"""A fused model as one ONNX file: strings and numbers in, string ids and scores out.

All operators are standard ones: `LabelEncoder` of `ai.onnx.ml`, and those of ONNX.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchtowers.export.errors import ExportError
from torchtowers.export.fused_features import Labels, RawInput
from torchtowers.export.fused_ranking import FusedRanking
from torchtowers.export.fused_retrieval import FusedRetrieval
from torchtowers.export.onnx import LARGEST, OPSET, Positional, import_onnx, name_ends, onnx_model, save_onnx

__all__ = ["export_fused_onnx"]

_ML = "ai.onnx.ml"
_ML_VERSION = 3
_OUTPUTS = ("items", "scores")
_ALL = "scores of all"


def export_fused_onnx(
    module: FusedRetrieval | FusedRanking, path: Path, *, opset: int = OPSET, largest: int = LARGEST
) -> None:
    """Write a fused model; its inputs are `module.inputs`, and for retrieval `k`, int64 `[1]`.

    Outputs are `scores`, float32, and for retrieval `items`, strings, both `[batch, min(k, candidates)]`,
    best first, ties in the index's order; where fewer are allowed, the rest is the empty string and -inf. Of
    a ranking model, `scores` are `[batch, candidates]`, as the candidates were given.

    Args:
        module: In evaluation mode.
        path: The `.onnx` file.
        opset: The version of ONNX's operators, from 18 on.
        largest: Bytes of weights from which on they are beside the file, in `NAME.onnx.data`.

    Raises:
        ExportError: The model is in training mode, its vocabularies are too large for an ONNX file, a feature
            has an output's name, or onnx and onnxscript are not installed.
    """
    if module.training:
        raise ExportError("the model is in training mode: call eval() before it is exported")
    names = [given.name for given in module.inputs]
    taken = [name for name in names if name in _OUTPUTS]
    if taken:
        raise ExportError(f"a feature can't be called {taken[0]} in a fused file, as an output is: rename it")
    onnx = import_onnx()
    sources = {given.name: given for given in module.inputs}
    numbers = [given for given in module.inputs if given.dtype != "string"]
    dims: dict[str, Any] = {"batch": torch.export.Dim("batch")}
    slots = [label.name for label in module.labels] + [given.name for given in numbers]
    of_slots = [sources[label.source] for label in module.labels] + numbers
    model = onnx_model(
        Positional(module, tuple(slots)),
        [_example(given) for given in of_slots],
        [_dynamic(given, dims) for given in of_slots],
        opset,
    )
    inside = [_label_name(label) for label in module.labels] + [given.name for given in numbers]
    is_retrieval = isinstance(module, FusedRetrieval)
    name_ends(model.graph, inside, [_ALL if is_retrieval else "scores"], (*names, *_OUTPUTS, "k"))
    _take_strings(onnx, model, module.inputs, module.labels)
    if isinstance(module, FusedRetrieval):
        _give_best(onnx, model, module.ids)
    save_onnx(model, path, largest=largest)


def _label_name(label: Labels) -> str:
    return f"label of {label.name}"


def _example(given: RawInput) -> Tensor:
    # Sizes of 0 and 1 would be taken for constants.
    sizes = [{"batch": 2, "length": 3}[size] if isinstance(size, str) else size for size in given.shape]
    dtype = torch.int64 if given.dtype == "string" else getattr(torch, given.dtype)
    return torch.ones(sizes, dtype=dtype)


def _dynamic(given: RawInput, dims: dict[str, Any]) -> dict[int, Any]:
    shape: dict[int, Any] = {0: dims["batch"]}
    if given.shape[1:] == ("length",):
        # Weights are as long as their tokens; no feature's name has a dot in it.
        name = given.name.partition(".")[0]
        shape[1] = dims.setdefault(name, torch.export.Dim(f"length_{len(dims)}"))
    return shape


def _take_strings(onnx: Any, model: Any, inputs: Sequence[RawInput], labels: Sequence[Labels]) -> None:
    """Put the labels' encoders in front of the graph, and the strings in the place of its inputs."""
    helper, graph = onnx.helper, model.graph
    inside = {value.name: value for value in graph.input}
    values = []
    for given in inputs:
        if given.dtype != "string":
            values.append(inside[given.name])
            continue
        shape = [size if size != "length" else f"{given.name} length" for size in given.shape]
        values.append(helper.make_tensor_value_info(given.name, onnx.TensorProto.STRING, shape))
    nodes = [
        helper.make_node(
            "LabelEncoder",
            [label.source],
            [_label_name(label)],
            domain=_ML,
            keys_strings=[_bytes(token, label.source) for token in label.by_token],
            values_int64s=list(label.by_token.values()),
            default_int64=label.unknown,
        )
        for label in labels
    ]
    rest = list(graph.node)
    del graph.input[:], graph.node[:]
    graph.input.extend(values)
    graph.node.extend([*nodes, *rest])
    model.opset_import.append(helper.make_opsetid(_ML, _ML_VERSION))


def _give_best(onnx: Any, model: Any, ids: Sequence[str]) -> None:
    """Put TopK and the ids behind the graph."""
    helper, graph = onnx.helper, model.graph
    # The last one is for places that no allowed candidate takes.
    names = [_bytes(name, "the index") for name in (*ids, "")]
    graph.initializer.extend(
        [
            helper.make_tensor("ids of candidates", onnx.TensorProto.STRING, [len(names)], names),
            onnx.numpy_helper.from_array(np.array([len(ids)], np.int64), "number of candidates"),
        ]
    )
    graph.node.extend(
        [
            helper.make_node("Min", ["k", "number of candidates"], ["k at most"]),
            helper.make_node("TopK", [_ALL, "k at most"], ["scores", "best rows"], axis=1),
            helper.make_node("IsInf", ["scores"], ["is out"]),
            helper.make_node("Where", ["is out", "number of candidates", "best rows"], ["allowed rows"]),
            helper.make_node("Gather", ["ids of candidates", "allowed rows"], ["items"]),
        ]
    )
    graph.input.append(helper.make_tensor_value_info("k", onnx.TensorProto.INT64, [1]))
    del graph.output[:]
    for name, dtype in zip(_OUTPUTS, (onnx.TensorProto.STRING, onnx.TensorProto.FLOAT), strict=True):
        graph.output.append(helper.make_tensor_value_info(name, dtype, ["batch", "best"]))


def _bytes(token: str, place: str) -> bytes:
    try:
        return token.encode()
    except UnicodeEncodeError as error:
        raise ExportError(f"{place} has a token that is no text ({error}), which ONNX can't hold") from error
