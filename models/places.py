"""Places of items: among all scores of their rows, and among what a search found."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from torchtowers.models.index import Index, TopK, id_kinds

__all__ = [
    "NOWHERE",
    "SCORES_AT_ONCE",
    "check_found",
    "check_ks",
    "count",
    "places_by_score",
    "places_found",
]

# The place of what is not found at all, past every k.
NOWHERE = torch.iinfo(torch.int64).max

# Scores that are compared at once stay in the cache.
SCORES_AT_ONCE = 1 << 19
# Whole numbers up to twice this are exact in single precision.
_COLUMNS_AT_ONCE = 1 << 23


def check_ks(ks: Sequence[int]) -> None:
    """Check how many of the best items should count.

    Raises:
        ValueError: There is no k, or one is below 1 or given twice.
    """
    if not ks or min(ks) < 1 or len(set(ks)) != len(ks):
        raise ValueError(f"ks have to be different numbers of at least 1, got {tuple(ks)}")


def count(
    compare: Callable[..., Tensor], scores: Tensor, border: Tensor, work: Tensor | None = None
) -> Tensor:
    """Count in each row the scores for which `compare(score, border)` holds; int64 `[rows]`.

    Args:
        compare: Such as `torch.le`; it writes floats, since a comparison of floats into floats and their sum
            take a quarter of the time that truth values take.
        scores: `[rows, columns]`.
        border: `[rows, 1]`.
        work: `[rows, columns]`, at least single precision; overwritten. The scores themselves if left out.

    Example:
        >>> count(torch.lt, torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[3.0]])).tolist()
        [2]
    """
    holds = scores if work is None else work
    compare(scores, border, out=holds)
    total = torch.zeros(len(scores), dtype=torch.int64, device=scores.device)
    for first in range(0, scores.size(1), _COLUMNS_AT_ONCE):
        total += holds[:, first : first + _COLUMNS_AT_ONCE].sum(1).long()
    return total


def places_by_score(scores: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Count the scores above each pair's own in its row: its place, 0 for the first, ties counting for it.

    A score of NaN counts as above. A pair whose own score is not finite has the place `NOWHERE`.

    Args:
        scores: `[rows, columns]`.
        rows: int64 `[pairs]`.
        columns: int64 `[pairs]`.

    Returns:
        int64 `[pairs]`.

    Example:
        >>> scores = torch.tensor([[0.1, 0.3, 0.2], [0.5, 0.5, 0.4]])
        >>> places_by_score(scores, torch.tensor([0, 1, 1]), torch.tensor([2, 1, 2])).tolist()
        [1, 0, 2]
    """
    # Half precision counts to 256 only.
    scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
    own = scores[rows, columns][:, None]
    places = torch.empty_like(rows)
    step = max(1, SCORES_AT_ONCE // max(1, scores.size(1)))
    for first in range(0, len(rows), step):
        part = slice(first, first + step)
        places[part] = scores.size(1) - count(torch.le, scores[rows[part]], own[part])
    return places.masked_fill(~own[:, 0].isfinite(), NOWHERE)


def places_found(found: TopK, rows: NDArray[np.int64], ids: NDArray[np.generic]) -> Tensor:
    """Give each id's place in its row of what a search found; int64 `[pairs]`, `NOWHERE` if it is not there.

    Args:
        found: What a search gave, `[rows, width]`.
        rows: int64 `[pairs]`.
        ids: `[pairs]`, of the kind that the search gives.

    Raises:
        ValueError: The search gave nothing to any row.

    Example:
        >>> found = TopK(torch.tensor([[0.9, 0.5]]), np.array([[7, 3]]))
        >>> places_found(found, np.array([0, 0]), np.array([3, 7])).tolist()
        [1, 0]
    """
    if not found.scores.size(1):
        raise ValueError("the index holds no candidates")
    # The place beyond a short answer has an id too, -1 or None.
    given = (found.scores > -torch.inf).cpu().numpy()
    match = np.asarray(found.ids[rows] == ids[:, None], dtype=bool) & given[rows]
    return torch.from_numpy(np.where(match.any(1), match.argmax(1), NOWHERE)).to(found.scores.device)


def check_found(index: Index, queries: Tensor, found: TopK, ids: NDArray[Any]) -> None:
    """Let the index refuse ids of a kind that none of its candidates has, rather than never find them.

    Args:
        index: What was searched.
        queries: `[queries, dim]`.
        found: What it gave them.
        ids: `[pairs]`, those that are looked for in it.

    Raises:
        TypeError: Ids are of another type than all of the candidates'.
    """
    first = found.ids[(found.scores > -torch.inf).any(1).cpu().numpy(), :1]
    kinds = id_kinds(first.flatten())
    if kinds and not id_kinds(ids) <= kinds:
        # The best of some queries may all be of one kind, and others of another.
        strange = next(name for name in ids.tolist() if not id_kinds([name]) <= kinds)
        index.search(queries[:1], 1, exclude=[[strange]])
