"""The formats that a model is exported to."""

from collections.abc import Mapping
from pathlib import Path

from torch import nn

from torchtowers.export.onnx import export_onnx
from torchtowers.export.torchscript import export_torchscript
from torchtowers.handlers.encoders import Encoder

__all__ = ["FORMATS", "export_module"]

# With the ends of the files' names.
FORMATS = {"torchscript": "pt", "onnx": "onnx"}


def export_module(name: str, module: nn.Module, encoders: Mapping[str, Encoder], path: Path) -> None:
    """Write a tower, or a ranking model, in one of `FORMATS`.

    Args:
        name: The format.
        module: In evaluation mode.
        encoders: Of its features, by name.
        path: The file.

    Raises:
        ExportError: The module can't be written in that format.
    """
    if name == "onnx":
        export_onnx(module, encoders, path)
    else:
        export_torchscript(module, path)
