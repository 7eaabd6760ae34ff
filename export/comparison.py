"""One comparison of an exported file with the model that was trained, and how much they may differ."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from torchtowers.export.errors import VerificationError

__all__ = ["BATCH_SIZES", "TOLERANCE", "Comparison", "check_worst", "difference_of"]

TOLERANCE = 1e-5
BATCH_SIZES = (1, 2, 7, 64, 1024)


@dataclass(frozen=True)
class Comparison:
    """One comparison with the trained model.

    Args:
        runtime: `torchscript`, `onnx` or `pt2`.
        compared: `query` or `candidate` embeddings, or `recommendations`: raw features to an answer's scores;
            of a ranking model its `scores`, and `answers`, from raw features; `fused`, by the fused file.
        batch: Its size.
        difference: The largest difference, relative above 1; infinite where shapes or items differ or a value
            is not finite.
    """

    runtime: str
    compared: str
    batch: int
    difference: float


def check_worst(comparisons: Sequence[Comparison]) -> None:
    """Refuse a difference above `TOLERANCE`.

    Raises:
        VerificationError: There is one; the worst is named, and all comparisons are with the error.
    """
    worst = max(comparisons, key=lambda comparison: comparison.difference)
    if worst.difference > TOLERANCE:
        raise VerificationError(
            f"the {worst.runtime} {worst.compared} differ from the trained model's by {worst.difference:.3g} "
            f"at batch size {worst.batch}, at most {TOLERANCE:g} is allowed",
            comparisons,
        )


def difference_of(got: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    """Give the largest difference; infinite where shapes differ or a value is not finite.

    It is absolute up to 1 and relative above, where a float of 32 bits has no more digits.
    """
    if got.shape != expected.shape or not (np.isfinite(got).all() and np.isfinite(expected).all()):
        return float("inf")
    return float((np.abs(got - expected) / np.maximum(np.abs(expected), 1.0)).max(initial=0.0))
