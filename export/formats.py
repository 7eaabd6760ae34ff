"""The formats that a model is exported to."""

from collections.abc import Mapping
from pathlib import Path

from torch import nn

from torchtowers.export.fused_onnx import export_fused_onnx
from torchtowers.export.fused_ranking import FusedRanking
from torchtowers.export.fused_retrieval import FusedRetrieval
from torchtowers.export.fused_torchscript import export_fused_torchscript
from torchtowers.export.onnx import OPSET, export_onnx
from torchtowers.export.pt2 import export_pt2
from torchtowers.export.torchscript import export_torchscript
from torchtowers.handlers.encoders import Encoder
from torchtowers.handlers.loading import find_served
from torchtowers.handlers.signature import Signature
from torchtowers.handlers.tower_scorer import TowerScorer
from torchtowers.handlers.tower_search import TowerSearch
from torchtowers.models.experiment import Trained
from torchtowers.models.retrieval_model import as_retrieval_model

__all__ = ["FORMATS", "FUSED_FORMATS", "export_fused", "export_module"]

# With the ends of the files' names.
FORMATS = {"torchscript": "pt", "onnx": "onnx", "pt2": "pt2"}
# Those that a fused file can have.
FUSED_FORMATS = ("torchscript", "onnx")


def export_module(
    name: str, module: nn.Module, encoders: Mapping[str, Encoder], path: Path, *, opset: int
) -> None:
    """Write a tower, or a ranking model, in one of `FORMATS`.

    Args:
        name: The format.
        module: In evaluation mode.
        encoders: Of its features, by name.
        path: The file.
        opset: Of an ONNX file.

    Raises:
        ExportError: The module can't be written in that format.
    """
    if name == "onnx":
        export_onnx(module, encoders, path, opset=opset)
    elif name == "pt2":
        export_pt2(module, encoders, path)
    else:
        export_torchscript(module, path)


def export_fused(name: str, trained: Trained, folder: Path, signature: Signature) -> str:
    """Write a fused file beside what is in an artifact already, and give its name.

    Args:
        name: Of `FUSED_FORMATS`.
        trained: The run.
        folder: The artifact, whose encoders, known users and items, and index are taken.
        signature: Its signature.

    Raises:
        ExportError: No operator of a graph can do what an encoder does.
    """
    served = find_served(folder, signature, kind=signature.kind, runtime=next(iter(signature.towers)))
    module: FusedRanking | FusedRetrieval
    if signature.kind == "ranking":
        module = FusedRanking(TowerScorer.load(folder, served), trained.model)
    else:
        tower = as_retrieval_model(trained.model).query_tower
        module = FusedRetrieval(TowerSearch.load(folder, served), tower)
    file = f"fused.{FORMATS[name]}"
    if name == "onnx":
        export_fused_onnx(module.eval(), folder / file, opset=signature.onnx_opset or OPSET)
    else:
        export_fused_torchscript(module.eval(), folder / file)
    return file
