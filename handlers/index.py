"""The exact index: scores every candidate and returns the best ones that are allowed."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from torchtowers.handlers.arrays import map_array
from torchtowers.handlers.errors import ArtifactError, shorten
from torchtowers.handlers.index_spec import IndexSpec
from torchtowers.handlers.strings import StringTable
from torchtowers.handlers.token_table import TokenTable
from torchtowers.handlers.vectors import DTYPES, Vectors
from torchtowers.handlers.vocabulary import token_of

__all__ = ["ExactIndex", "rows_of", "top_rows"]

# Of so many maxima for each wanted row, the k-th best one is a score that hardly more than k rows reach.
_GROUPS = 8
# Scores of a batch that are ranked in one go; more of them leave the cache.
_BATCH = 1 << 20

_AT_ONCE = 1 << 14
_LEAST = np.float32(-np.inf)
_NO_ROWS = np.empty(0, dtype=np.int64)


class DeviceRows(Protocol):
    """The rows that an answer's scores are of, on a device."""

    def scores(self, queries: NDArray[np.float32]) -> NDArray[np.float32]:
        """Give the products of queries `[batch, dim]` with all rows, float32 `[batch, count]`."""


class ExactIndex:
    """Candidates compared with queries by dot product.

    Args:
        vectors: Their embeddings, float32 or smaller.
        table: Their ids.
        rescoring: Of int8 vectors, the float32 embeddings `[candidates, dim]`, of which a search reads only
            the few rows that can be among the best; it then gives what float32 vectors would give.
    """

    is_exact = True
    metric = "dot"

    def __init__(
        self, vectors: Vectors, table: TokenTable, *, rescoring: NDArray[np.float32] | None = None
    ) -> None:
        if len(vectors) != len(table):
            raise ArtifactError(f"the index has {len(vectors)} embeddings and {len(table)} ids")
        self.vectors = vectors
        self.rescoring = rescoring
        self.table = table
        # What scores in place of the vectors, where the worker has a GPU.
        self.device_rows: DeviceRows | None = None

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def ids(self) -> StringTable:
        """The candidates' ids as JSON text."""
        return self.table.texts

    @property
    def scored(self) -> Vectors:
        """The embeddings that the scores of an answer are of."""
        return self.vectors if self.rescoring is None else Vectors(self.rescoring)

    def rows_of(self, ids: Sequence[object]) -> NDArray[np.int64]:
        """Give the rows of those ids that are candidates."""
        return rows_of(self.table, ids)

    def search(
        self,
        queries: NDArray[np.float32],
        ks: Sequence[int],
        excluded: Sequence[NDArray[np.int64]],
        allowed: Sequence[NDArray[np.bool_] | None] = (),
    ) -> list[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """Give for each query its best rows and their scores, best first.

        A row that is excluded never comes back: fewer than k allowed candidates give a shorter list.

        Args:
            queries: float32 `[batch, dim]`.
            ks: How many each query wants.
            excluded: Rows that each query must not get.
            allowed: Where given, which rows each query may get, `[candidates]`; None for all.
        """
        if self.rescoring is None or self.device_rows is not None:
            scores = (self.device_rows or self.vectors).scores(queries)
            if allowed:
                each = zip(scores, ks, excluded, allowed, strict=True)
                return [_top_among(own, k, without, mask) for own, k, without, mask in each]
            if len(scores) > 1 and scores.size <= _BATCH:
                return _top_of_each(scores, ks, excluded)
            return [top_rows(scores[position], k, excluded[position]) for position, k in enumerate(ks)]
        scores, lengths = self.vectors.estimates(queries)
        for position, mask in enumerate(allowed):
            if mask is not None:
                scores[position, ~mask] = -np.inf
        return [
            self._rescored(
                *(queries[position], scores[position], lengths[position]),
                *(k, excluded[position], self.rescoring),
            )
            for position, k in enumerate(ks)
        ]

    def _rescored(
        self,
        query: NDArray[np.float32],
        scores: NDArray[np.float32],
        length: np.float32,
        k: int,
        excluded: NDArray[np.int64],
        embeddings: NDArray[np.float32],
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Score all rows anew whose true score can be among the k best."""
        errors = self.vectors.errors(length)
        _, certain = top_rows(scores - errors, k, excluded)
        if not len(certain):
            return _NO_ROWS, certain
        scores += errors
        scores[excluded] = -np.inf
        rows = np.flatnonzero(scores >= (certain[-1] if len(certain) == k else -np.inf))
        rows = rows[np.isfinite(scores[rows])]
        best, found = top_rows(embeddings[rows] @ query, k)
        return rows[best], found

    @classmethod
    def load(cls, folder: Path, spec: IndexSpec) -> "ExactIndex":
        """Map the files that export wrote.

        Raises:
            ArtifactError: A file is missing or malformed, or does not fit the signature.
        """
        if not spec.exact or spec.metric != cls.metric:
            raise ArtifactError(f"expected an exact index compared by {cls.metric}, got {spec}")
        if spec.dtype not in DTYPES or (spec.dtype == "int8") != (spec.scales is not None):
            raise ArtifactError(
                f"the index is {shorten(spec.dtype)} {'with' if spec.scales else 'without'} scales; this "
                f"version knows {', '.join(DTYPES)}, of which int8 has scales"
            )
        if spec.rescoring is not None and spec.scales is None:
            raise ArtifactError(f"only an int8 index is scored again, this one is {spec.dtype}")
        values = _finite(folder, spec.embeddings, spec.dtype, (spec.size, spec.dimension))
        scales = None if spec.scales is None else _finite(folder, spec.scales, "float32", (spec.size,))
        rescoring = (
            None if spec.rescoring is None else _finite(folder, spec.rescoring, "float32", values.shape)
        )
        return cls(Vectors(values, scales), TokenTable.load(folder, spec.ids), rescoring=rescoring)


def rows_of(table: TokenTable, ids: Sequence[object]) -> NDArray[np.int64]:
    """Give the rows of those ids that are in a table."""
    if not ids:
        return _NO_ROWS
    tokens = (token_of(identifier) for identifier in ids)
    rows = (table.get(token, -1) for token in tokens if token is not None)
    return np.fromiter((row for row in rows if row >= 0), dtype=np.int64)


def _finite(folder: Path, name: str, dtype: str, shape: tuple[int, ...]) -> NDArray[Any]:
    array = map_array(folder, name, np.dtype(dtype).type, dimensions=len(shape))
    if array.shape != shape:
        raise ArtifactError(f"{name} is {array.shape}, the signature says {shape}")
    if array.dtype.kind == "f" and not _is_finite(array):
        raise ArtifactError(f"{name} holds values that are not finite; train and export again")
    return array


def _top_among(
    scores: NDArray[np.float32], k: int, excluded: NDArray[np.int64], allowed: NDArray[np.bool_] | None
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Give the best of the rows that are allowed."""
    if allowed is None:
        return top_rows(scores, k, excluded)
    # Of them alone: a row of scores that is mostly -inf would be slow to divide.
    scores[excluded] = -np.inf
    rows = np.flatnonzero(allowed)
    best, found = top_rows(scores[rows], k)
    return rows[best], found


def _is_finite(array: NDArray[Any]) -> bool:
    # In parts: the flags of a large index at once would stay in the worker's memory.
    return all(np.isfinite(array[first : first + _AT_ONCE]).all() for first in range(0, len(array), _AT_ONCE))


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
    # All rows that reach a score, so that ties at the border go by row and not by chance.
    rows = np.flatnonzero(scores >= max(_reached(scores, k), np.finfo(scores.dtype).min))
    rows = rows[np.argsort(-scores[rows], kind="stable")[:k]]
    return rows, scores[rows]


def _top_of_each(
    scores: NDArray[np.float32], ks: Sequence[int], excluded: Sequence[NDArray[np.int64]]
) -> list[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """Give what `top_rows` gives for each query, in a few calls for all."""
    if not np.isfinite(scores).all():
        scores[~np.isfinite(scores)] = -np.inf
    for position, rows in enumerate(excluded):
        if len(rows):
            scores[position, rows] = -np.inf
    reached = np.maximum(_reached(scores, max(ks)), np.finfo(scores.dtype).min)
    # As flat places: numpy's nonzero of two dimensions takes six times as long.
    queries, rows = np.divmod(np.flatnonzero(scores >= reached[:, None]), scores.shape[1])
    found = scores[queries, rows]
    # By query, then by score, then, as the sort is stable, by row.
    order = np.lexsort((-found, queries))
    rows, found = rows[order], found[order]
    ends = np.searchsorted(queries, np.arange(1, len(scores) + 1)).tolist()
    return [
        (rows[begin : min(begin + k, end)], found[begin : min(begin + k, end)])
        for begin, end, k in zip([0, *ends], ends, ks, strict=False)
    ]


def _reached(scores: NDArray[np.float32], k: int) -> Any:
    """Give a score that k rows or more reach, by maxima of groups: a twentieth of the time of ranking all.

    Args:
        scores: float32 `[candidates]`, or `[batch, candidates]`, each by itself.
        k: How many.
    """
    candidates, groups = scores.shape[-1], _GROUPS * k
    if groups >= candidates:
        if k >= candidates:
            return np.full(scores.shape[:-1], _LEAST)
        return np.partition(scores, candidates - k)[..., candidates - k]
    each = candidates // groups
    # Neighbours are in different groups, and the maxima are found a whole line at a time.
    lines = scores[..., : each * groups].reshape(*scores.shape[:-1], each, groups)
    return np.partition(lines.max(axis=-2), groups - k)[..., groups - k]
