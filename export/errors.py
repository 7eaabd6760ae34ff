"""What can go wrong while a run is exported or packaged.

TowersError
└── ExportError              a run or an artifact can't be exported or packaged
    ├── VerificationError    an artifact does not answer as the trained model does
    └── LossError            smaller weights or a smaller index lose more than is allowed
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torchtowers.handlers.errors import TowersError

if TYPE_CHECKING:
    from torchtowers.export.comparison import Comparison
    from torchtowers.export.loss import Loss

__all__ = ["ExportError", "LossError", "VerificationError"]


class ExportError(TowersError):
    """A run can't be exported, or an artifact can't be packaged."""


class VerificationError(ExportError):
    """An exported tower differs from the trained one by more than the tolerance, or stored values differ.

    Args:
        message: What differs.
        comparisons: All that were made.
    """

    # Not the caller's mistake: a check that failed.
    exit_code = 1

    def __init__(self, message: str, comparisons: Sequence["Comparison"] = ()) -> None:
        super().__init__(message)
        self.comparisons = tuple(comparisons)


class LossError(ExportError):
    """Smaller weights or a smaller index change more of the answers than is allowed.

    Args:
        message: What is lost.
        loss: What was measured.
    """

    # As of VerificationError.
    exit_code = 1

    def __init__(self, message: str, loss: "Loss") -> None:
        super().__init__(message)
        self.loss = loss
