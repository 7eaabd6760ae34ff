"""What an index promises: the best candidates of each query, with ids of any type."""

from collections.abc import Hashable, Iterator, Sequence, Set
from functools import cache
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = [
    "ExactIndex",
    "Ids",
    "Index",
    "TopK",
    "check_candidates",
    "check_kinds",
    "check_search",
    "id_array",
    "id_kinds",
    "python_ids",
    "take_ids",
    "top_columns",
]

Ids = Sequence[Hashable] | NDArray[Any] | Tensor

# Values of two of these are never equal. Of others, such as tuples, nothing is said.
_KINDS = ((str, "text"), (bytes, "bytes"), ((int, float), "numbers"))
_OTHERS = "others"


class TopK(NamedTuple):
    """The best candidates of each query, best first, equal scores by row.

    `width` is the smaller of k and the number of candidates. A query with fewer candidates to give has a
    shorter answer: its places beyond have the score -inf and the id None (-1 among integers). Only the score
    tells, since -1 may be an id; `pairs` leaves those places out.

    Attributes:
        scores: `[queries, width]`, on the device of the queries.
        ids: `[queries, width]`; int64 where the candidates' ids are integers, otherwise Python objects.
    """

    scores: Tensor
    ids: NDArray[Any]

    def pairs(self) -> list[list[tuple[Hashable, float]]]:
        """Give for each query its ids with their scores, as many as it has."""
        return [
            [(identifier, score) for identifier, score in zip(ids, scores, strict=True) if score > -np.inf]
            for ids, scores in zip(self.ids.tolist(), self.scores.tolist(), strict=True)
        ]


@runtime_checkable
class Index(Protocol):
    """Candidates that can be searched by dot product."""

    @property
    def is_exact(self) -> bool:
        """Whether `search` always gives the true best ones."""

    def search(
        self,
        queries: Tensor,
        k: int,
        exclude: Sequence[Ids] | None = None,
        include: Sequence[Ids | None] | None = None,
    ) -> TopK:
        """Give for each query its best k candidates; one that is excluded or not included never comes back.

        Args:
            queries: `[queries, dim]`.
            k: How many each query wants, at least 1.
            exclude: For each query the ids that it must not get, of any number; unknown ids are ignored.
            include: For each query the only ids that it may get, of any number, or None where it may get
                all; unknown ids are ignored, and one that is excluded as well stays away.

        Raises:
            TypeError: Ids are numbers, text or bytes, and those of the candidates are never that.
        """


@runtime_checkable
class ExactIndex(Index, Protocol):
    """An index that can be read through, so that every candidate can be counted."""

    def blocks(self) -> Iterator[tuple[NDArray[Any], Tensor]]:
        """Give all candidates in order: ids `[rows]` and embeddings `[rows, dim]`."""


def id_array(ids: Ids) -> NDArray[Any]:
    """Give ids as an array `[ids]`: int64 where all are integers, otherwise of Python objects."""
    values = python_ids(ids)
    if values and all(type(value) is int for value in values):
        try:
            return np.array(values, dtype=np.int64)
        except OverflowError:
            pass
    objects = np.empty(len(values), dtype=object)
    objects[:] = values
    return objects


def python_ids(ids: Ids) -> list[Hashable]:
    """Give ids as Python values, since a tensor's element equals no key of a dictionary.

    Raises:
        TypeError: A text stands where a list of ids is expected.
        ValueError: An array of ids has more than one dimension.
    """
    if isinstance(ids, str | bytes):
        raise TypeError(f"expected a list of ids, got the text {ids!r}: write [{ids!r}]")
    if isinstance(ids, Tensor | np.ndarray):
        if ids.ndim != 1:
            raise ValueError(f"ids have to be one-dimensional, got shape {tuple(ids.shape)}")
        values: list[Hashable] = ids.tolist()
        return values
    return [value.item() if isinstance(value, Tensor | np.generic) else value for value in ids]


def id_kinds(values: Sequence[Hashable] | NDArray[Any]) -> frozenset[str]:
    """Tell of which kinds ids are: `numbers`, `text`, `bytes` or `others`.

    Args:
        values: Python values, as `python_ids` gives them, or an array, as `id_array` gives it.

    Example:
        >>> sorted(id_kinds([1, "a", 2]))
        ['numbers', 'text']
    """
    if isinstance(values, np.ndarray):
        values = values.tolist() if values.dtype == object else values[:1].tolist()
    return frozenset(map(_kind, set(map(type, values))))


@cache
def _kind(of: type) -> str:
    return next((name for base, name in _KINDS if issubclass(of, base)), _OTHERS)


def check_kinds(kinds: Set[str], values: Sequence[Hashable]) -> None:
    """Refuse ids that can't be a candidate's, since none is of their kind, such as `1` among `"1"`, `"2"`.

    Args:
        kinds: Of the candidates' ids, as `id_kinds` gives them; without candidates nothing is refused.
        values: Python values, as `python_ids` gives them.

    Raises:
        TypeError: An id is a number, text or bytes, and no candidate's is.
    """
    allowed = kinds | {_OTHERS}
    if kinds and not id_kinds(values) <= allowed:
        value = next(value for value in values if not id_kinds([value]) <= allowed)
        raise TypeError(
            f"the candidates' ids are {' and '.join(sorted(kinds))}, got {next(iter(id_kinds([value])))} "
            f"such as {value!r}: give ids of the type that the candidates were given"
        )


def check_search(
    queries: Tensor,
    k: int,
    dimension: int,
    exclude: Sequence[Ids] | None = None,
    include: Sequence[Ids | None] | None = None,
) -> None:
    """Check what a search was given.

    Raises:
        ValueError: The queries' shape, k or the number of lists of ids does not fit.
    """
    if queries.ndim != 2 or queries.size(1) != dimension:
        raise ValueError(f"queries have to be [queries, {dimension}], got {list(queries.shape)}")
    if k < 1:
        raise ValueError(f"k has to be at least 1, got {k}")
    if exclude is not None and len(exclude) != len(queries):
        raise ValueError(f"there are {len(queries)} queries and {len(exclude)} lists of ids to exclude")
    if include is not None and len(include) != len(queries):
        raise ValueError(f"there are {len(queries)} queries and {len(include)} lists of ids to include")


def check_candidates(embeddings: Tensor, ids: NDArray[Any] | None) -> None:
    """Check candidates.

    Raises:
        ValueError: The embeddings are no matrix, or there is another number of ids.
    """
    if embeddings.ndim != 2:
        raise ValueError(f"candidates have to be [candidates, dim], got {list(embeddings.shape)}")
    if ids is not None and len(ids) != len(embeddings):
        raise ValueError(f"there are {len(embeddings)} candidates and {len(ids)} ids")


def top_columns(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Give the k largest scores of each row and their columns, largest first, equal ones by column.

    A score that is not finite comes last, as -inf. `torch.topk` alone leaves the order of ties to chance.

    Args:
        scores: `[rows, columns]`.
        k: At least 1; above the number of columns it gives all of them.
    """
    k = min(k, scores.size(1))
    more = min(k + 1, scores.size(1))
    values, columns = scores.topk(more)
    # NaN and infinity come first in torch.topk, so the first column tells whether there are any.
    if (values[:, :1].isnan() | values[:, :1].isposinf()).any():
        return top_columns(scores.masked_fill(~scores.isfinite(), -torch.inf), k)
    columns = columns[:, :k]
    if more > k:
        border = values[:, k - 1]
        tied = border == values[:, k]
        if tied.any():
            columns[tied] = _columns_down_to(scores[tied], border[tied, None], k)
    columns = columns.sort(dim=1).values
    values, order = scores.gather(1, columns).sort(dim=1, descending=True, stable=True)
    return values, columns.gather(1, order)


def _columns_down_to(scores: Tensor, border: Tensor, k: int) -> Tensor:
    """Give k columns of each row: all above the border, then the first of those on it; `[rows, k]`."""
    above, equal = scores > border, scores == border
    room = k - above.sum(1, keepdim=True)
    keep = above | (equal & (equal.cumsum(1, dtype=torch.int32) <= room))
    return keep.nonzero()[:, 1].reshape(-1, k)


def take_ids(ids: NDArray[Any], columns: Tensor, scores: Tensor) -> NDArray[Any]:
    """Give the ids at `columns`, None or -1 where a score is -inf; `[queries, width]`."""
    taken: NDArray[Any] = ids[columns.cpu().numpy()]
    taken[scores.isneginf().cpu().numpy()] = None if taken.dtype == object else -1
    return taken
