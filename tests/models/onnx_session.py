"""A module as ONNX, loaded by ONNX Runtime."""

import warnings
from typing import Any

import onnxruntime
import torch
from torch import nn

__all__ = ["exported"]

OPSET = 18


def exported(module: nn.Module, examples: list[Any]) -> onnxruntime.InferenceSession:
    batch = torch.export.Dim("batch")

    def shapes(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: shapes(inner) for key, inner in value.items()}
        return [shapes(inner) for inner in value] if isinstance(value, list) else {0: batch}

    with warnings.catch_warnings():
        # torch's own, inside the exporter.
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.filterwarnings("ignore", message="# The axis name")
        warnings.filterwarnings("ignore", message="The tensor attributes .*_flat_weights")
        program = torch.onnx.export(
            module,
            # A last dictionary would be taken for keyword arguments.
            (*examples, {}),
            dynamo=True,
            opset_version=OPSET,
            dynamic_shapes=tuple(shapes(examples)),
            verbose=False,
        )
    assert program is not None
    return onnxruntime.InferenceSession(program.model_proto.SerializeToString())
