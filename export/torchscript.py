"""A tower as TorchScript, without a trace of the machine that exported it."""

import io
import re
import warnings
import zipfile
from pathlib import Path

import torch
from torch import nn

from torchtowers.export.errors import ExportError
from torchtowers.models.towers import PREFIX

__all__ = ["export_torchscript", "save_scripted"]

_FIRST_DATE = (1980, 1, 1, 0, 0, 0)
_CONSTANTS = re.compile(rb"(?:^  \w+ : Final\[[^\n]*\n){2,}", re.MULTILINE)


def export_torchscript(tower: nn.Module, path: Path) -> None:
    """Script a tower and save it: `dict[str, Tensor]` of encoded features in, float32 `[batch, dim]` out.

    Args:
        tower: In evaluation mode.
        path: The `.pt` file.

    Raises:
        ExportError: The tower is in training mode, or a feature's name is beyond ASCII.
    """
    save_scripted(tower, path)


def save_scripted(tower: nn.Module, path: Path) -> None:
    """Script any module and save it.

    Args:
        tower: In evaluation mode.
        path: The `.pt` file.

    Raises:
        ExportError: The module is in training mode, or a feature's name is beyond ASCII.
    """
    if tower.training:
        raise ExportError("the tower is in training mode: call eval() before it is exported")
    beyond = [name.rpartition(".")[2] for name, _ in tower.named_modules() if not name.isascii()]
    if beyond:
        raise ExportError(
            f"TorchScript can't load a feature called {beyond[0].removeprefix(PREFIX)!r}, as names have to "
            "be ASCII: rename the column, or export with --format onnx"
        )
    # To memory first: torch.jit.save hides the reason where it can't write a file.
    scripted = io.BytesIO()
    with warnings.catch_warnings():
        # Deprecated upstream in favour of torch.export; what TorchServe loads is TorchScript.
        warnings.filterwarnings("ignore", message=r".*torch\.jit\.", category=DeprecationWarning)
        torch.jit.save(torch.jit.script(tower), scripted)
    _write_the_same(scripted, path)


def _write_the_same(scripted: io.BytesIO, path: Path) -> None:
    """Write what depends on the module alone, so that another process writes the same bytes.

    Left out are the records with the source files' paths, which only stack traces use, and an id of the
    content as torch wrote it. A class's constants stand in the order of Python's hashes: they are sorted.
    """
    with zipfile.ZipFile(scripted) as source, zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as target:
        for info in source.infolist():
            content = source.read(info)
            if info.filename.endswith((".debug_pkl", "/.data/serialization_id")):
                continue
            if "/code/" in info.filename and info.filename.endswith(".py"):
                content = _CONSTANTS.sub(_sorted_lines, content)
            target.writestr(zipfile.ZipInfo(info.filename, _FIRST_DATE), content)


def _sorted_lines(lines: re.Match[bytes]) -> bytes:
    return b"".join(sorted(lines[0].splitlines(keepends=True)))
