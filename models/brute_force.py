"""The exact index over candidates in memory; TFRS's `layers.factorized_top_k.BruteForce`."""

from collections.abc import Hashable, Iterator, Sequence
from functools import cached_property
from itertools import chain
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from torchtowers.models.index import (
    Ids,
    TopK,
    check_candidates,
    check_search,
    id_array,
    python_ids,
    take_ids,
    top_columns,
)

__all__ = ["BruteForce"]

_SCORES_AT_ONCE = 1 << 20
_QUERIES_AT_ONCE = 32
_PLACES_AT_ONCE = 1 << 19
_ROWS_AT_ONCE = 1 << 12


class BruteForce:
    """Candidates compared with queries by dot product, all of them.

    Excluded candidates are masked before the best are chosen, so they never come back and k + exclusions may
    exceed the number of candidates. Equal scores come by row, the lower first, as in TFRS.

    Args:
        candidates: `[candidates, dim]`, finite.
        ids: The candidates' ids, any hashable values; their rows where left out. Candidates may share an id.

    Raises:
        ValueError: The candidates are no matrix, or there is another number of ids.

    Example:
        >>> index = BruteForce(torch.tensor([[1.0], [3.0], [2.0]]), ids=["a", "b", "c"])
        >>> index.search(torch.tensor([[1.0]]), k=2, exclude=[["b"]]).pairs()
        [[('c', 2.0), ('a', 1.0)]]
    """

    is_exact = True

    def __init__(self, candidates: Tensor, ids: Ids | None = None) -> None:
        self.candidates = candidates.detach()
        self.ids = np.arange(len(candidates)) if ids is None else id_array(ids)
        check_candidates(self.candidates, self.ids)

    def __len__(self) -> int:
        return len(self.candidates)

    def search(self, queries: Tensor, k: int, exclude: Sequence[Ids] | None = None) -> TopK:
        """Give for each query its best k candidates.

        Args:
            queries: `[queries, dim]`.
            k: How many each query wants; fewer candidates give shorter answers.
            exclude: For each query the ids that it must not get; ids that are no candidates are ignored.

        Raises:
            TypeError: A text stands where a list of ids is expected.
            ValueError: The queries' shape, k or the number of exclusion lists does not fit.
        """
        check_search(queries, k, self.candidates.size(1), exclude)
        scores = queries.new_empty(len(queries), min(k, len(self)))
        rows = torch.empty(scores.shape, dtype=torch.int64, device=scores.device)
        step = max(_QUERIES_AT_ONCE, _SCORES_AT_ONCE // max(1, len(self)))
        with torch.no_grad():
            for first in range(0, len(queries), step):
                part = slice(first, first + step)
                every = queries[part] @ self.candidates.T
                if exclude is not None:
                    self._mask(every, exclude[part])
                scores[part], rows[part] = top_columns(every, k)
        return TopK(scores, take_ids(self.ids, rows, scores))

    @property
    def has_unique_ids(self) -> bool:
        """Whether every candidate has an id of its own."""
        return len(self._rows) == len(self)

    def places(self, queries: Tensor, ids: Ids) -> tuple[Tensor, Tensor]:
        """Give where `search` would put each query's own candidate, 0 for first, without sorting the others.

        Args:
            queries: `[queries, dim]`.
            ids: `[queries]`, those of the own candidates.

        Returns:
            The places, and the last places that candidates of the same score have; int64 `[queries]`, the
            number of candidates where the id is unknown or the score not finite.

        Raises:
            ValueError: Candidates share an id, or the queries' shape or the number of ids does not fit.
        """
        check_search(queries, 1, self.candidates.size(1), None)
        if not self.has_unique_ids:
            raise ValueError("some candidates share an id, so that an id has no one place: use search")
        rows = torch.tensor([self._rows.get(name, (-1,))[0] for name in python_ids(ids)], dtype=torch.int64)
        if len(rows) != len(queries):
            raise ValueError(f"there are {len(queries)} queries and {len(rows)} ids of their candidates")
        places = torch.full((2, len(queries)), len(self), device=queries.device)
        known = (rows >= 0).nonzero()[:, 0].to(queries.device)
        rows = rows.to(queries.device)
        step = max(1, _PLACES_AT_ONCE // max(1, len(self)))
        # Fresh memory for each step would cost more than the products.
        scores = queries.new_empty(min(step, len(known)), len(self))
        flags = torch.empty_like(scores, dtype=torch.bool)
        with torch.no_grad():
            for first in range(0, len(known), step):
                part = known[first : first + step]
                torch.mm(queries[part], self.candidates.T, out=scores[: len(part)])
                places[:, part] = _places(scores[: len(part)], rows[part, None], flags[: len(part)])
        return places[0], places[1]

    def blocks(self) -> Iterator[tuple[NDArray[Any], Tensor]]:
        """Give all candidates in order: ids `[rows]` and embeddings `[rows, dim]`."""
        for first in range(0, len(self), _ROWS_AT_ONCE):
            part = slice(first, first + _ROWS_AT_ONCE)
            yield self.ids[part], self.candidates[part]

    def _mask(self, scores: Tensor, exclude: Sequence[Ids]) -> None:
        rows = [
            list(chain.from_iterable(self._rows.get(identifier, ()) for identifier in python_ids(ids)))
            for ids in exclude
        ]
        positions = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
        columns = np.fromiter(chain.from_iterable(rows), dtype=np.int64)
        scores[torch.from_numpy(positions), torch.from_numpy(columns)] = -torch.inf

    @cached_property
    def _rows(self) -> dict[Hashable, tuple[int, ...]]:
        rows: dict[Hashable, tuple[int, ...]] = {}
        for row, identifier in enumerate(self.ids.tolist()):
            rows[identifier] = (*rows.get(identifier, ()), row)
        return rows


def _places(scores: Tensor, rows: Tensor, flags: Tensor) -> Tensor:
    """Give first and last place of column `rows` `[queries, 1]` among the scores; int64 `[2, queries]`."""
    own = scores.gather(1, rows)
    above = torch.gt(scores, own, out=flags).sum(1, dtype=torch.int32)
    equal = torch.eq(scores, own, out=flags).sum(1, dtype=torch.int32)
    place = above.long()
    tied = (equal > 1).nonzero()[:, 0]
    columns = torch.arange(scores.size(1), device=scores.device)
    place[tied] += (flags[tied] & (columns < rows[tied])).sum(1)
    places = torch.stack([place, above + equal - 1])
    return places.masked_fill(~own.isfinite().T, scores.size(1))
