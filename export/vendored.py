"""What TorchServe needs beside a model: the handler, the package that it imports, and a configuration.

They lie in the artifact as in an archive, so that `torch-model-archiver` packages the artifact's folder.
"""

import shutil
from collections.abc import Iterable
from pathlib import Path

import torchtowers.handlers
from torchtowers.export.model_config import ServingConfig
from torchtowers.handlers.kinds import handler_of

__all__ = ["CONFIG", "is_vendored", "write_vendored"]

CONFIG = "model-config.yaml"
_PACKAGE = "torchtowers/handlers/"


def is_vendored(name: str, kind: str) -> bool:
    """Tell whether an artifact's file is the handler or of its package."""
    return name.startswith(_PACKAGE) or name == handler_of(kind)


def write_vendored(folder: Path, kind: str) -> None:
    """Write the handler of a kind of model, its package, and a configuration to start from.

    Raises:
        OSError: The disk refuses.
    """
    package = Path(torchtowers.handlers.__path__[0])
    (folder / _PACKAGE).mkdir(parents=True)
    for path in _sources(package):
        shutil.copyfile(path, folder / _PACKAGE / path.name)
    shutil.copyfile(package / handler_of(kind), folder / handler_of(kind))
    (folder / CONFIG).write_text(ServingConfig().to_yaml(), encoding="utf-8")


def _sources(package: Path) -> Iterable[Path]:
    return (path for path in sorted(package.glob("*.py")) if not path.name.endswith("_handler.py"))
