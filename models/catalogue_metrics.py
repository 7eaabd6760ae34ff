"""Recall, precision, NDCG, MRR, MAP and hit rate over a whole catalogue, at several ks in one pass."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics import Metric

from torchtowers.models.index import Ids, Index, id_array, python_ids
from torchtowers.models.places import check_found, check_ks, places_by_score, places_found

__all__ = ["FIGURES", "CatalogueMetrics", "catalogue_figures"]

FIGURES = ("recall", "ndcg", "precision", "mrr", "map", "hit_rate")


class CatalogueMetrics(Metric):
    """How well users' relevant items rank among all items: a mean over the users that have relevant ones.

    With an index, `update` takes the users' embeddings and names items by the index's ids. Without one it
    takes the scores of all items, and names items by their columns.

    Recall divides by all relevant items, and so does MAP, also by those below k. Precision divides by k, or
    by the number of candidates if that is less. Results of several ranks are summed, so that users may be
    spread over batches and ranks in any way, but each user has to come in one piece.

    Source: the definitions of `ranked_lists` (Järvelin & Kekäläinen 2002 for NDCG), on relevance of 0 or 1.

    Args:
        candidates: An index to search; equal scores come in its order. None, if updates bring the scores;
            equal ones count for each relevant item, as in `FactorizedTopK` by score.
        ks: How many of the best items count.
        **kwargs: Those of `torchmetrics.Metric`.

    Raises:
        ValueError: There is no k, or one is below 1 or given twice.

    Example:
        >>> metric = CatalogueMetrics(ks=(1, 2))
        >>> scores = torch.tensor([[0.9, 0.5, 0.1], [0.9, 0.5, 0.1]])
        >>> metric.update(scores, relevant=[[1], [0, 2]], exclude=[[0], []])
        >>> {name: float(value) for name, value in metric.compute().items() if "recall" in name}
        {'recall@1': 0.75, 'recall@2': 0.75}
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    sums: Tensor
    users: Tensor

    def __init__(self, candidates: Index | None = None, ks: Sequence[int] = (10,), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_ks(ks)
        self.candidates = candidates
        self.ks = tuple(ks)
        shape = (len(FIGURES), len(ks))
        self.add_state("sums", torch.zeros(shape, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("users", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, queries: Tensor, relevant: Sequence[Ids], exclude: Sequence[Ids] | None = None) -> None:
        """Count the figures of a batch of users.

        Args:
            queries: Embeddings `[users, dim]` to search the index with; without an index the scores of all
                items, `[users, items]`.
            relevant: For each user the items that should rank high, of any number; a user without any is left
                out.
            exclude: For each user the items that don't compete, such as those seen in training. A relevant
                item that is excluded is never found.

        Raises:
            IndexError: A column is none of the scores'.
            TypeError: A column is no integer, or ids are of another type than all of the index's.
            ValueError: There is another number of lists than of users.
        """
        for lists in (relevant, exclude):
            if lists is not None and len(lists) != len(queries):
                raise ValueError(f"there are {len(queries)} users and {len(lists)} lists of items")
        if self.candidates is None:
            scores = queries.detach().clone()
            if exclude is not None:
                scores[_cells(exclude, scores)] = -torch.inf
            rows, columns = _cells(relevant, scores)
            width, places = scores.size(1), places_by_score(scores, rows, columns)
        else:
            found = self.candidates.search(queries, max(self.ks), exclude)
            names, ids = _flat(relevant)
            check_found(self.candidates, queries, found, ids)
            width, places = found.scores.size(1), places_found(found, names, ids)
            rows = torch.from_numpy(names).to(places.device)
        self.sums += catalogue_figures(places, rows, len(queries), width, self.ks).sum(2).to(self.sums)
        self.users += (torch.bincount(rows) > 0).sum().to(self.users)

    def compute(self) -> dict[str, Tensor]:
        """Give `{figure}@{k}` for each of `FIGURES` and each k, 0 as long as nothing was counted."""
        means = (self.sums / self.users.clamp(min=1)).float()
        return {
            f"{figure}@{k}": means[row, column]
            for column, k in enumerate(self.ks)
            for row, figure in enumerate(FIGURES)
        }


def catalogue_figures(places: Tensor, rows: Tensor, users: int, width: int, ks: Sequence[int]) -> Tensor:
    """Compute the figures of each user from the places of the relevant items.

    Args:
        places: int64 `[pairs]`, 0 for the first. Items of equal scores may share one: each counts as if it
            were alone there, but no figure is above 1.
        rows: int64 `[pairs]`, the user of each.
        users: Their number; those without a pair get 0.
        width: How many candidates there are.
        ks: How many of the best count.

    Returns:
        float64 `[figures, ks, users]`, figures as in `FIGURES`.

    Example:
        >>> places, rows = torch.tensor([0, 3, 1]), torch.tensor([0, 0, 1])
        >>> catalogue_figures(places, rows, users=2, width=9, ks=(2,))[0].tolist()
        [[0.5, 1.0]]
    """
    order = places.argsort(stable=True)
    order = order[rows[order].argsort(stable=True)]
    rows, ranks = rows[order], places[order].double() + 1
    totals = torch.bincount(rows, minlength=users)
    nth = _numbered(totals) + 1.0
    per_user = torch.zeros(users, dtype=torch.float64, device=rows.device)
    figures = []
    for k in ks:
        hit = (ranks <= k).double()
        hits = per_user.index_add(0, rows, hit)
        gains = per_user.index_add(0, rows, hit / torch.log2(ranks + 1))
        ideal = torch.log2(torch.arange(2.0, k + 2, dtype=torch.float64)).reciprocal().cumsum(0).to(hit)
        # A tie may count more relevant items than there are places down to it.
        precisions = per_user.index_add(0, rows, hit * (nth / ranks).clamp(max=1))
        found = [
            hits / totals.clamp(min=1),
            (gains / ideal[totals.clamp(1, k) - 1]).clamp(max=1),
            (hits / min(k, width)).clamp(max=1),
            per_user.index_add(0, rows, hit * (nth == 1) / ranks),
            precisions / totals.clamp(min=1),
            hits.clamp(max=1),
        ]
        figures.append(torch.stack(found))
    return torch.stack(figures, 1)


def _numbered(lengths: Tensor) -> Tensor:
    """Number the members of each run from 0; int64 `[sum of lengths]`."""
    begins = (lengths.cumsum(0) - lengths).repeat_interleave(lengths)
    return torch.arange(len(begins), device=begins.device) - begins


def _flat(lists: Sequence[Ids]) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Give the row and the id of each item, every id once a row."""
    unique = [list(dict.fromkeys(python_ids(ids))) for ids in lists]
    rows = np.repeat(np.arange(len(unique)), [len(ids) for ids in unique])
    return rows, id_array([name for ids in unique for name in ids])


def _cells(lists: Sequence[Ids], scores: Tensor) -> tuple[Tensor, Tensor]:
    """Give the row and the column of each item."""
    rows, ids = _flat(lists)
    if len(ids) and ids.dtype != np.int64:
        strange = next(name for name in ids.tolist() if type(name) is not int)
        raise TypeError(f"without an index an item is the column of its score, an integer, got {strange!r}")
    columns = ids.astype(np.int64)
    outside = (columns < 0) | (columns >= scores.size(1))
    if outside.any():
        raise IndexError(f"item {columns[outside][0]} is no column of scores for {scores.size(1)} items")
    return torch.from_numpy(rows).to(scores.device), torch.from_numpy(columns).to(scores.device)
