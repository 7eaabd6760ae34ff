"""A tower as an AOTInductor package: machine code for the processor of the exporting machine."""

import json
import logging
import os
import shutil
import tempfile
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

from torchtowers.export.errors import ExportError
from torchtowers.export.onnx import Positional, examples_of
from torchtowers.handlers.encoders import Encoder, tensor_names
from torchtowers.handlers.runtime import INPUTS

__all__ = ["export_pt2"]

# As torch looks for one, behind what the environment says.
_COMPILERS = ("g++", "c++", "clang++")
_FIRST_DATE = (1980, 1, 1, 0, 0, 0)


def export_pt2(tower: nn.Module, encoders: Mapping[str, Encoder], path: Path) -> None:
    """Compile a tower to a package that takes its tensors by position; batch and lengths are dynamic.

    The code is for the processor that compiles it: a worker needs the same kind, and the same torch.

    Args:
        tower: In evaluation mode.
        encoders: By feature; they tell the inputs.
        path: The `.pt2` file.

    Raises:
        ExportError: The tower is in training mode, there is no C++ compiler, or it can't compile the tower.
    """
    if tower.training:
        raise ExportError("the tower is in training mode: call eval() before it is exported")
    compiler = os.environ.get("CXX", "").partition(" ")[0]
    if shutil.which(compiler) is None if compiler else not any(map(shutil.which, _COMPILERS)):
        raise ExportError(
            f"--format pt2 needs a C++ compiler, and there is no {compiler or ', '.join(_COMPILERS)} here: "
            "install g++, or export with --format torchscript or onnx, which need none"
        )
    names = tensor_names(encoders)
    examples, shapes = examples_of(encoders)
    with tempfile.TemporaryDirectory() as folder, _quiet():
        package = Path(folder) / path.name
        try:
            with torch.no_grad():
                program = torch.export.export(
                    Positional(tower, tuple(names)), tuple(examples), dynamic_shapes=(tuple(shapes),)
                )
            torch._inductor.aoti_compile_and_package(
                program,
                package_path=str(package),
                inductor_configs={"aot_inductor.metadata": {INPUTS: json.dumps(names)}},
            )
        except Exception as error:  # torch's own classes share no public base
            lines = str(error).strip().splitlines() or [type(error).__name__]
            raise ExportError(
                f"torch can't compile the tower to a pt2 package: {lines[-1]}; export with another --format"
            ) from error
        _write_without_sources(package, path)


def _write_without_sources(package: Path, path: Path) -> None:
    """Leave out the C++ sources, which nothing reads and which hold paths of this machine."""
    with zipfile.ZipFile(package) as source, zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as target:
        for info in source.infolist():
            if not info.filename.endswith(".cpp"):
                # The package's folder is called as the file, whatever it is called later.
                target.writestr(zipfile.ZipInfo(info.filename, _FIRST_DATE), source.read(info))


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep torch's notes to its own developers off the user's screen."""
    logger = logging.getLogger("torch")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            for kind in (FutureWarning, DeprecationWarning, UserWarning):
                warnings.simplefilter("ignore", kind)
            yield
    finally:
        logger.setLevel(level)
