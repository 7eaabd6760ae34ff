"""Exports trained models, verifies what was exported, and packages it for TorchServe."""

from typing import TYPE_CHECKING, Any

from torchtowers.export.archive import build_archive
from torchtowers.export.errors import ExportError, VerificationError
from torchtowers.export.model_config import ServingConfig

if TYPE_CHECKING:
    from torchtowers.export.artifact import export_artifact
    from torchtowers.export.comparison import Comparison
    from torchtowers.export.verification import verify_artifact

__all__ = [
    "Comparison",
    "ExportError",
    "ServingConfig",
    "VerificationError",
    "build_archive",
    "export_artifact",
    "verify_artifact",
]


def __getattr__(name: str) -> Any:
    # Exporting needs torch and packaging does not: an archive is built in a second, and where no torch is.
    if name == "export_artifact":
        from torchtowers.export.artifact import export_artifact

        return export_artifact
    if name == "verify_artifact":
        from torchtowers.export.verification import verify_artifact

        return verify_artifact
    if name == "Comparison":
        from torchtowers.export.comparison import Comparison

        return Comparison
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
