"""What both sides of benchmarks/index.py search: drawn from one seed, with NumPy alone."""

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

CANDIDATES, DIMENSION, K = 1_000_000, 64, 100
CLUSTERS, SPREAD = 1000, 0.3
# So many queries tell recall to a thousandth of a part.
RECALL_QUERIES = 256


def plain() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Give candidates `[1M, 64]` and queries `[32, 64]` without structure, for exact search."""
    random = np.random.default_rng(0)
    candidates = random.standard_normal((CANDIDATES, DIMENSION), dtype=np.float32)
    return candidates, random.standard_normal((32, DIMENSION), dtype=np.float32)


def clustered() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Give candidates `[1M, 64]` and queries `[256, 64]` of length one around a thousand centres."""
    random = np.random.default_rng(0)
    centres = random.standard_normal((CLUSTERS, DIMENSION), dtype=np.float32)

    def drawn(count: int) -> NDArray[np.float32]:
        noise = random.standard_normal((count, DIMENSION), dtype=np.float32)
        points = centres[random.integers(0, CLUSTERS, count)] + np.float32(SPREAD) * noise
        return points / np.linalg.norm(points, axis=1, keepdims=True)

    return drawn(CANDIDATES), drawn(RECALL_QUERIES)


def keep_found(side: str, rows: NDArray[np.integer]) -> None:
    """Leave the rows found for all queries where benchmarks/index.py compares them with the truth."""
    np.save(Path(os.environ["INDEX_FOUND"]) / f"{side}.npy", rows)
