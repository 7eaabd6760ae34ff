"""A tower as TorchScript, without a trace of the machine that exported it."""

import warnings
import zipfile
from pathlib import Path

import torch
from torch import nn

from torchtowers.export.errors import ExportError

__all__ = ["export_torchscript"]

_FIRST_DATE = (1980, 1, 1, 0, 0, 0)


def export_torchscript(tower: nn.Module, path: Path) -> None:
    """Script a tower and save it; it takes one `dict[str, Tensor]` of encoded features and gives `[batch, dim]`.

    Args:
        tower: In evaluation mode.
        path: The `.pt` file.

    Raises:
        ExportError: The tower is in training mode.
    """
    if tower.training:
        raise ExportError("the tower is in training mode: call eval() before it is exported")
    with warnings.catch_warnings():
        # Deprecated upstream in favour of torch.export; what TorchServe loads is TorchScript.
        warnings.filterwarnings("ignore", message=r".*torch\.jit\.", category=DeprecationWarning)
        scripted = torch.jit.script(tower)
        torch.jit.save(scripted, str(path))
    _drop_source_places(path)


def _drop_source_places(path: Path) -> None:
    """Rewrite the file without the records that hold the source files' paths, which only stack traces use."""
    beside = path.with_name(f".{path.name}.part")
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(beside, "w", zipfile.ZIP_STORED) as target:
        for info in source.infolist():
            if not info.filename.endswith(".debug_pkl"):
                target.writestr(zipfile.ZipInfo(info.filename, _FIRST_DATE), source.read(info))
    beside.replace(path)
