"""The catalogue's embeddings in two dimensions."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from torchtowers.models.report_charts import Point

__all__ = ["SHADES", "CatalogueMap", "catalogue_map"]

SHADES = 5
_MOST = 1500


@dataclass(frozen=True)
class CatalogueMap:
    """Items laid out.

    Args:
        points: Between -1 and 1, the most popular items last; of a large catalogue a sample.
        variance: The part of the embeddings' variance that the two directions have.
        items: Size of the catalogue.
    """

    points: list[Point]
    variance: float
    items: int


def catalogue_map(
    embeddings: NDArray[np.floating], counts: NDArray[np.int64], titles: Sequence[str]
) -> CatalogueMap:
    """Lay out items by the two directions in which their embeddings differ most (PCA).

    Args:
        embeddings: `[items, dim]`.
        counts: Each item's interactions in training, int64 `[items]`; they shade it, in `SHADES` groups of
            equally many items.
        titles: Each item's.
    """
    centred = embeddings - embeddings.mean(0, dtype=np.float64)
    # The directions of the small matrix are those of the large one.
    variances, directions = np.linalg.eigh(centred.T @ centred)
    places = centred @ directions[:, ::-1][:, :2]
    if places.shape[1] < 2:
        places = np.pad(places, ((0, 0), (0, 2 - places.shape[1])))
    # A few outliers would push all others into one spot.
    extent = np.quantile(np.abs(places), 0.995, axis=0)
    places = (places / np.where(extent > 0, extent, 1)).clip(-1, 1)
    ranks = np.argsort(np.argsort(counts, kind="stable"), kind="stable")
    shades = ranks * SHADES // len(counts)
    chosen = np.arange(len(counts))
    if len(chosen) > _MOST:
        chosen = np.random.default_rng(0).choice(len(chosen), _MOST, replace=False)
    chosen = chosen[np.argsort(counts[chosen], kind="stable")]
    points = [
        Point(
            float(places[row, 0]),
            float(places[row, 1]),
            int(shades[row]),
            f"{titles[row]} ({counts[row]:,} in training)",
        )
        for row in chosen.tolist()
    ]
    total = float(variances.sum())
    part = float(variances[-2:].sum()) / total if total > 0 else 0.0
    return CatalogueMap(points, part, len(counts))
