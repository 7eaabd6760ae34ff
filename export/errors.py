"""What can go wrong while a run is exported or packaged.

TowersError
└── ExportError              a run or an artifact can't be exported or packaged
    └── VerificationError    an artifact does not answer as the trained model does
"""

from torchtowers.handlers.errors import TowersError

__all__ = ["ExportError", "VerificationError"]


class ExportError(TowersError):
    """A run can't be exported, or an artifact can't be packaged."""


class VerificationError(ExportError):
    """An exported tower differs from the trained one by more than the tolerance, or stored values differ."""

    # Not the caller's mistake: a check that failed.
    exit_code = 1
