"""The best rows of each query among blocks of embeddings that come one after another, exactly."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from torchtowers.models.index import top_columns

__all__ = ["BestRows", "Limits", "score_type"]

_SCORES_AT_ONCE = 1 << 22
_QUERIES_AT_ONCE = 256
_GROUP = 32
_PARTS = 16


class Limits(NamedTuple):
    """Which rows of a block which query may not get; rows ascend.

    Attributes:
        excluded: Rows and the queries' positions, int64 `[2, pairs]`: pairs that must not come back.
        included: Rows and positions, int64 `[2, pairs]`: all that the restricted may get.
        restricted: Positions of queries that may get what is included and no more; int64, ascending.
    """

    excluded: NDArray[np.int64]
    included: NDArray[np.int64]
    restricted: NDArray[np.int64]

    @classmethod
    def of(
        cls, exclude: Sequence[Sequence[int]] | None, include: Sequence[Sequence[int] | None] | None
    ) -> "Limits | None":
        """Make them from each query's rows; None where nothing is limited."""
        if exclude is None and include is None:
            return None
        included = [] if include is None else include
        restricted = [position for position, rows in enumerate(included) if rows is not None]
        return cls(
            _pairs(exclude if exclude is not None else ()),
            _pairs([rows if rows is not None else () for rows in included]),
            np.array(restricted, dtype=np.int64),
        )

    def part(self, first_row: int, rows: int, first: int, queries: int) -> "Limits":
        """Give those of some rows and queries, counted from their first ones."""
        own = (self.restricted >= first) & (self.restricted < first + queries)
        return Limits(
            _part(self.excluded, first_row, rows, first, queries),
            _part(self.included, first_row, rows, first, queries),
            self.restricted[own] - first,
        )

    def among(self, rows: NDArray[np.int64]) -> "Limits":
        """Give those of some rows, ascending, counted by their places among these."""
        return Limits(_among(self.excluded, rows), _among(self.included, rows), self.restricted)

    def mask(self, scores: Tensor) -> None:
        """Write -inf over the scores `[queries, rows]` that must not come back."""
        if len(self.restricted):
            rows, positions = torch.from_numpy(self.included).to(scores.device)
            kept = scores[positions, rows]
            scores[torch.from_numpy(self.restricted).to(scores.device)] = -torch.inf
            scores[positions, rows] = kept
        if self.excluded.size:
            rows, positions = torch.from_numpy(self.excluded).to(scores.device)
            scores[positions, rows] = -torch.inf


def score_type(queries: Tensor, candidates: Tensor) -> torch.dtype:
    """Give the type that scores are computed in: that of both together, and at least float32.

    Half precision would make ties of scores that differ.
    """
    return torch.promote_types(torch.promote_types(queries.dtype, candidates.dtype), torch.float32)


class BestRows:
    """The best k of all rows seen so far, for each query; equal scores by row, the lower first.

    Scores are computed a block at a time into one workspace that stays in the cache. Of each block only
    groups of rows are looked at whose maximum can reach the best k: the k-th largest of the groups' maxima
    is a lower bound of the k-th best score.

    Args:
        queries: `[queries, dim]`.
        k: At least 1.
    """

    def __init__(self, queries: Tensor, k: int) -> None:
        self.queries = queries.detach()
        self.k = k
        self.seen = 0
        self._parts = [
            _Best(self.queries[first : first + _QUERIES_AT_ONCE], k)
            for first in range(0, len(queries), _QUERIES_AT_ONCE)
        ]
        self._workspace = queries.new_empty(0)

    @torch.no_grad()
    def add(self, embeddings: Tensor, limits: Limits | None = None) -> None:
        """Score the next rows.

        Args:
            embeddings: `[rows, dim]`.
            limits: What may not come back, by these rows' numbers from 0.
        """
        self._cast(score_type(self.queries, embeddings))
        width = max(1, min(_QUERIES_AT_ONCE, len(self.queries)))
        step = _SCORES_AT_ONCE // width
        if len(self._workspace) < min(step, len(embeddings)) * width:
            self._workspace = self.queries.new_empty(min(step, len(embeddings)) * width)
        for first_row in range(0, len(embeddings), step):
            block = embeddings[first_row : first_row + step].to(self.queries.dtype)
            for number, best in enumerate(self._parts):
                queries = best.queries
                out = self._workspace[: len(block) * len(queries)].view(len(block), len(queries))
                _score(block, queries, out)
                if limits is not None:
                    first = number * _QUERIES_AT_ONCE
                    limits.part(first_row, len(block), first, len(queries)).mask(out.T)
                best.add(out, self.seen + first_row)
        self.seen += len(embeddings)

    def _cast(self, dtype: torch.dtype) -> None:
        if dtype != self.queries.dtype:
            self.queries, self._workspace = self.queries.to(dtype), self._workspace.to(dtype)
            for best in self._parts:
                best.queries, best.scores = best.queries.to(dtype), best.scores.to(dtype)

    def found(self) -> tuple[Tensor, Tensor]:
        """Give the scores, best first, and the rows; `[queries, width]`, width at most k."""
        if not self._parts:
            empty = self.queries.new_empty(0, min(self.k, self.seen))
            return empty, empty.long()
        return torch.cat([best.scores for best in self._parts]), torch.cat(
            [best.rows for best in self._parts]
        )


class _Best:
    def __init__(self, queries: Tensor, k: int) -> None:
        self.queries = queries
        self.k = k
        self.scores = queries.new_empty(len(queries), 0)
        self.rows = torch.empty(self.scores.shape, dtype=torch.int64, device=queries.device)

    def add(self, scores: Tensor, first: int) -> None:
        """Take over the best of the next scores `[rows, queries]`, which are written over if not finite."""
        parts, columns = [self.scores], [self.rows]
        groups = len(scores) // _GROUP
        ended = 0
        # With few groups there is nothing to leave out.
        if groups > 2 * self.k:
            ended = groups * _GROUP
            grouped = scores[:ended].view(groups, _GROUP, -1)
            tops = grouped.amax(1)
            # NaN is below nothing, and it comes through a maximum.
            if not bool(tops.max() < torch.inf):
                scores.masked_fill_(~scores.isfinite(), -torch.inf)
                tops = grouped.amax(1)
            chosen = self._reaching(tops.T.contiguous())[:, :, None]
            parts.append(grouped.permute(2, 0, 1).gather(1, chosen.expand(-1, -1, _GROUP)).flatten(1))
            inside = torch.arange(_GROUP, device=scores.device)
            columns.append((chosen * _GROUP + (inside + first)).flatten(1))
        parts.append(scores[ended:].T)
        rest = torch.arange(first + ended, first + len(scores), device=scores.device)
        columns.append(rest.expand(len(self.scores), -1))
        # The best so far stand first, since among equal scores the lower column goes first.
        self.scores, at = top_columns(torch.cat(parts, 1), self.k)
        self.rows = torch.cat(columns, 1).gather(1, at)

    def _reaching(self, tops: Tensor) -> Tensor:
        """Give the groups that may hold some of the best, and for some queries others; ascending."""
        full = self.scores.size(1) == self.k
        # Those that equal the k-th best so far come behind it.
        reach = tops > self.scores[:, -1:] if full else tops > -torch.inf
        count = int(reach.sum(1).max())
        if count > 2 * self.k:
            reach &= tops >= tops.topk(self.k).values[:, -1:]
            count = int(reach.sum(1).max())
        return tops.topk(count).indices.sort(1).values


def _score(block: Tensor, queries: Tensor, out: Tensor) -> None:
    """Write the scores `[rows, queries]`; so laid out and in this order, the product is fastest."""
    columns = queries.T.contiguous()
    each = len(block) // _PARTS
    if len(queries) > 1 or not each:
        torch.mm(block, columns, out=out)
        return
    # A product of a matrix and a vector takes one thread, several of them take all.
    many, ended = columns.expand(_PARTS, -1, -1), _PARTS * each
    parts = block[:ended].view(_PARTS, each, block.size(1))
    torch.bmm(parts, many, out=out[:ended].view(_PARTS, each, 1))
    torch.mm(block[ended:], columns, out=out[ended:])


def _pairs(lists: Sequence[Sequence[int]]) -> NDArray[np.int64]:
    """Give rows, ascending, and positions of the lists that they stand in; int64 `[2, pairs]`."""
    lengths = [len(rows) for rows in lists]
    parts = [np.asarray(rows, dtype=np.int64) for rows in lists if len(rows)]
    rows = np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)
    pairs = np.stack([rows, np.repeat(np.arange(len(lists)), lengths)])
    return pairs[:, np.argsort(rows, kind="stable")]


def _part(pairs: NDArray[np.int64], first_row: int, rows: int, first: int, queries: int) -> NDArray[np.int64]:
    start, end = np.searchsorted(pairs[0], (first_row, first_row + rows))
    part = pairs[:, start:end]
    own = (part[1] >= first) & (part[1] < first + queries)
    return np.stack([part[0, own] - first_row, part[1, own] - first])


def _among(pairs: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.int64]:
    pairs = pairs[:, np.isin(pairs[0], rows)]
    return np.stack([np.searchsorted(rows, pairs[0]), pairs[1]])
