"""Exports trained models, verifies what was exported, and packages it for TorchServe."""

import importlib
from typing import TYPE_CHECKING, Any

from torchtowers.export.archive import build_archive
from torchtowers.export.errors import ExportError, VerificationError
from torchtowers.export.model_config import ServingConfig

if TYPE_CHECKING:
    from torchtowers.export.artifact import export_artifact
    from torchtowers.export.combined import Combination, combine_artifacts
    from torchtowers.export.comparison import Comparison
    from torchtowers.export.new_index import IndexChange, export_index
    from torchtowers.export.verification import verify_artifact

__all__ = [
    "Combination",
    "Comparison",
    "ExportError",
    "IndexChange",
    "ServingConfig",
    "VerificationError",
    "build_archive",
    "combine_artifacts",
    "export_artifact",
    "export_index",
    "verify_artifact",
]


# Exporting needs torch and packaging does not: an archive is built in a second, and where no torch is.
_LATER = {
    "Combination": "combined",
    "Comparison": "comparison",
    "IndexChange": "new_index",
    "combine_artifacts": "combined",
    "export_artifact": "artifact",
    "export_index": "new_index",
    "verify_artifact": "verification",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_LATER[name]}"), name)
