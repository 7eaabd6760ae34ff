"""The exact index: scores every candidate and returns the best ones that are allowed."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from torchtowers.handlers.arrays import map_array, save_array
from torchtowers.handlers.errors import ArtifactError
from torchtowers.handlers.signature import IndexSpec
from torchtowers.handlers.strings import StringTable
from torchtowers.handlers.vocabulary import token_of

__all__ = ["ExactIndex", "top_rows"]

_NO_ROWS = np.empty(0, dtype=np.int64)


class ExactIndex:
    """Candidates compared with queries by dot product.

    Args:
        embeddings: float32 `[candidates, dim]`, C-contiguous.
        ids: The candidates' ids, each as JSON text.
    """

    is_exact = True
    metric = "dot"

    def __init__(self, embeddings: NDArray[np.float32], ids: StringTable) -> None:
        if len(embeddings) != len(ids):
            raise ArtifactError(f"the index has {len(embeddings)} embeddings and {len(ids)} ids")
        self.embeddings = embeddings
        self.ids = ids
        names = ids.json_values("the index's ids")
        if not all(isinstance(name, str) for name in names):
            raise ArtifactError("the index's ids have to be strings")
        self._rows = {name: row for row, name in enumerate(names)}
        if len(self._rows) != len(ids):
            raise ArtifactError(
                f"the index has {len(ids)} candidates and only {len(self._rows)} distinct ids"
            )

    def __len__(self) -> int:
        return len(self.embeddings)

    def rows_of(self, ids: Sequence[object]) -> NDArray[np.int64]:
        """Give the rows of those ids that are candidates."""
        if not ids:
            return _NO_ROWS
        rows = (self._rows.get(token_of(identifier)) for identifier in ids)
        return np.fromiter((row for row in rows if row is not None), dtype=np.int64)

    def search(
        self,
        queries: NDArray[np.float32],
        ks: Sequence[int],
        excluded: Sequence[NDArray[np.int64]],
    ) -> list[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """Give for each query its best rows and their scores, best first.

        A row that is excluded never comes back: fewer than k allowed candidates give a shorter list.

        Args:
            queries: float32 `[batch, dim]`.
            ks: How many each query wants.
            excluded: Rows that each query must not get.
        """
        scores = queries @ self.embeddings.T
        return [top_rows(scores[position], k, excluded[position]) for position, k in enumerate(ks)]

    def save(self, folder: Path, spec: IndexSpec) -> None:
        """Write the embeddings and ids under the names in `spec`."""
        save_array(folder, spec.embeddings, self.embeddings)
        self.ids.save(folder, spec.ids)

    @classmethod
    def load(cls, folder: Path, spec: IndexSpec) -> "ExactIndex":
        """Map what `save` wrote.

        Raises:
            ArtifactError: A file is missing or malformed, or does not fit the signature.
        """
        embeddings = map_array(folder, spec.embeddings, np.float32, dimensions=2)
        if embeddings.shape != (spec.size, spec.dimension):
            raise ArtifactError(
                f"{spec.embeddings} is {embeddings.shape}, the signature says ({spec.size}, {spec.dimension})"
            )
        if not spec.exact or spec.metric != cls.metric:
            raise ArtifactError(f"expected an exact index compared by {cls.metric}, got {spec}")
        if not np.isfinite(embeddings).all():
            raise ArtifactError(f"{spec.embeddings} holds values that are not finite; train and export again")
        return cls(embeddings, StringTable.load(folder, spec.ids))


def top_rows(
    scores: NDArray[np.float32], k: int, excluded: NDArray[np.int64] = _NO_ROWS
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Give the rows of the k largest scores, largest first, ties by row; excluded and non-finite ones never.

    Args:
        scores: float32 `[candidates]`; written over where rows are excluded or not finite.
        k: At least 1; above the number of candidates it gives all of them.
        excluded: Rows to leave out.
    """
    finite = np.isfinite(scores)
    if not finite.all():
        # Before the border is looked for: NaN and infinity would take places in front of it.
        scores[~finite] = -np.inf
    scores[excluded] = -np.inf
    least = np.finfo(scores.dtype).min
    candidates = len(scores)
    if k < candidates:
        # All rows that reach the k-th best score, so that ties at the border go by row and not by chance.
        least = max(least, np.partition(scores, candidates - k)[candidates - k])
    rows = np.flatnonzero(scores >= least)
    rows = rows[np.argsort(-scores[rows], kind="stable")[:k]]
    return rows, scores[rows]
