"""The exact index over candidates in memory; TFRS's `layers.factorized_top_k.BruteForce`."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from torchtowers.models.best_rows import BestRows, Limits, score_type
from torchtowers.models.id_table import IdTable
from torchtowers.models.index import Ids, TopK, check_candidates, check_search, id_array, take_ids
from torchtowers.models.index_files import IndexFiles, new_folder
from torchtowers.models.places import SCORES_AT_ONCE, count

__all__ = ["BruteForce"]

_KIND = "BruteForce"
_ROWS_AT_ONCE = 1 << 12


class BruteForce:
    """Candidates compared with queries by dot product, all of them.

    Excluded candidates are masked before the best are chosen, so they never come back and k + exclusions may
    exceed the number of candidates. Equal scores come by row, the lower first, as in TFRS.

    Searches may run in several threads at once. One that runs while candidates are added, removed or updated
    may see some of the change.

    Args:
        candidates: `[candidates, dim]`, finite; never written to.
        ids: The candidates' ids, any hashable values; their rows where left out. Candidates may share an id.

    Raises:
        ValueError: The candidates are no matrix, or there is another number of ids.

    Example:
        >>> index = BruteForce(torch.tensor([[1.0], [3.0], [2.0]]), ids=["a", "b", "c"])
        >>> index.search(torch.tensor([[1.0]]), k=2, exclude=[["b"]]).pairs()
        [[('c', 2.0), ('a', 1.0)]]
        >>> index.add(torch.tensor([[4.0]]), ["d"])
        >>> index.search(torch.tensor([[1.0]]), k=2, include=[["a", "d"]]).pairs()
        [[('d', 4.0), ('a', 1.0)]]
    """

    is_exact = True

    def __init__(self, candidates: Tensor, ids: Ids | None = None) -> None:
        check_candidates(candidates, None)
        names = np.arange(len(candidates)) if ids is None else id_array(ids)
        check_candidates(candidates, names)
        self._rows = candidates.detach()
        self._table = IdTable(names)
        self._may_write = False

    def __len__(self) -> int:
        return len(self._table)

    @property
    def candidates(self) -> Tensor:
        """The embeddings, `[candidates, dim]`."""
        return self._rows[: len(self)]

    @property
    def ids(self) -> NDArray[Any]:
        """The candidates' ids, `[candidates]`: int64 as long as all were integers, otherwise Python objects.

        A view to read, which changes of the index write over: copy it to keep it.
        """
        return self._table.ids

    def search(
        self,
        queries: Tensor,
        k: int,
        exclude: Sequence[Ids] | None = None,
        include: Sequence[Ids | None] | None = None,
    ) -> TopK:
        """Give for each query its best k candidates.

        Args:
            queries: `[queries, dim]`, of any type: scores have that of queries and candidates together, and
                at least float32.
            k: How many each query wants; fewer candidates give shorter answers.
            exclude: For each query the ids that it must not get; ids that are no candidates are ignored.
            include: For each query the only ids that it may get, or None where it may get all.

        Raises:
            TypeError: A text stands where a list of ids is expected, or ids are of another type than all of
                the candidates'.
            ValueError: The queries' shape, k or the number of lists of ids does not fit.
        """
        check_search(queries, k, self._rows.size(1), exclude, include)
        limits = self._limits(exclude, include)
        candidates = self.candidates
        rows = None if limits is None else _all_that_may_come(limits, len(queries))
        if limits is None or rows is None or len(rows) > len(self) // 4:
            rows = None
        else:
            candidates, limits = candidates[torch.from_numpy(rows).to(candidates.device)], limits.among(rows)
        best = BestRows(queries, k)
        best.add(candidates, limits)
        scores, found = best.found()
        if rows is not None:
            found = torch.from_numpy(rows).to(found.device)[found]
            short = min(k, len(self)) - scores.size(1)
            scores = nn.functional.pad(scores, (0, short), value=-torch.inf)
            found = nn.functional.pad(found, (0, short))
        return TopK(scores, take_ids(self.ids, found, scores))

    def add(self, embeddings: Tensor, ids: Ids) -> None:
        """Append candidates.

        Args:
            embeddings: `[rows, dim]`.
            ids: `[rows]`, none of which is in the index yet.

        Raises:
            ValueError: The shapes don't fit, or an id is given twice or in the index already.
        """
        self._check_rows(embeddings, ids)
        self._table.check_new(ids)
        first, size = len(self), len(self) + len(embeddings)
        if size > len(self._rows):
            # Half as much again, so that a row added is copied a bounded number of times.
            capacity = max(size, len(self._rows) * 3 // 2)
            # Tensors made in inference mode could not be written to outside.
            with torch.inference_mode(False):
                grown = self._rows.new_empty(capacity, self._rows.size(1))
            grown[:first] = self._rows[:first]
            self._rows, self._may_write = grown, True
        self._write(np.arange(first, size), embeddings)
        self._table.add(ids)

    def remove(self, ids: Ids) -> None:
        """Remove candidates, all that have one of the ids; the last ones move to their places.

        Raises:
            TypeError: Ids are of another type than all of the candidates'.
            ValueError: An id is unknown or given twice.
        """
        free, moved = self._table.moves(ids)
        self._write(free, self._rows[torch.from_numpy(moved).to(self._rows.device)])
        self._table.remove(ids)

    def update(self, embeddings: Tensor, ids: Ids) -> None:
        """Give candidates other embeddings.

        Args:
            embeddings: `[rows, dim]`.
            ids: `[rows]`, each in the index.

        Raises:
            TypeError: Ids are of another type than all of the candidates'.
            ValueError: The shapes don't fit, or an id is unknown, given twice or shared by candidates.
        """
        self._check_rows(embeddings, ids)
        self._write(self._table.known_rows(ids), embeddings)

    def to(self, device: torch.device | str) -> Self:
        """Give the index on another device, itself where it is there already, as `Tensor.to` does."""
        if self._rows.device == torch.empty(0, device=device).device:
            return self
        return type(self)(self.candidates.to(device), self.ids)

    def save(self, folder: Path | str) -> None:
        """Write the index to a new folder, of which nothing is there until all is.

        Raises:
            FileExistsError: The folder is there already.
            TypeError: An id is neither text nor an integer, or NumPy has no such type of embeddings.
        """
        with new_folder(Path(folder)) as files:
            files.save_array("embeddings", self.candidates)
            files.save_ids(self.ids)
            files.save_header(_KIND, {"size": len(self), "dimension": self._rows.size(1)})

    @classmethod
    def load(cls, folder: Path | str, *, mmap: bool = True) -> Self:
        """Read what `save` wrote.

        Args:
            folder: The folder.
            mmap: Map the embeddings rather than read them: processes on one machine share them, and those
                that a process changes later are copied for it alone. The files are never written to.

        Raises:
            ValueError: A file is missing, malformed or does not fit the others.
        """
        files = IndexFiles(Path(folder))
        header = files.load_header(_KIND, {"size": int, "dimension": int})
        embeddings = files.load_array("embeddings", (header["size"], header["dimension"]), mmap=mmap)
        index = cls(embeddings, files.load_ids(header["size"]))
        # The mapping is private, so that what is written stays in this process.
        index._may_write = True
        return index

    @property
    def has_unique_ids(self) -> bool:
        """Whether every candidate has an id of its own."""
        return self._table.is_unique

    def places(self, queries: Tensor, ids: Ids) -> tuple[Tensor, Tensor]:
        """Give where `search` would put each query's own candidate, 0 for first, without sorting the others.

        Args:
            queries: `[queries, dim]`.
            ids: `[queries]`, those of the own candidates.

        Returns:
            The places, and the last places that candidates of the same score have; int64 `[queries]`, the
            number of candidates where the id is unknown or the score not finite.

        Raises:
            TypeError: Ids are of another type than all of the candidates'.
            ValueError: Candidates share an id, or the queries' shape or the number of ids does not fit.
        """
        check_search(queries, 1, self._rows.size(1))
        if not self.has_unique_ids:
            raise ValueError("some candidates share an id, so that an id has no one place: use search")
        rows = torch.from_numpy(self._table.row_of_each(ids))
        if len(rows) != len(queries):
            raise ValueError(f"there are {len(queries)} queries and {len(rows)} ids of their candidates")
        places = torch.full((2, len(queries)), len(self), device=queries.device)
        known = (rows >= 0).nonzero()[:, 0].to(queries.device)
        rows = rows.to(queries.device)
        step = max(1, SCORES_AT_ONCE // max(1, len(self)))
        dtype = score_type(queries, self._rows)
        queries, candidates = queries.detach().to(dtype), self.candidates.to(dtype)
        # Fresh memory for each step would cost more than the products.
        scores = queries.new_empty(min(step, len(known)), len(self))
        work = torch.empty_like(scores)
        with torch.no_grad():
            for first in range(0, len(known), step):
                part = known[first : first + step]
                torch.mm(queries[part], candidates.T, out=scores[: len(part)])
                places[:, part] = _places(scores[: len(part)], rows[part, None], work[: len(part)])
        return places[0], places[1]

    def blocks(self) -> Iterator[tuple[NDArray[Any], Tensor]]:
        """Give all candidates in order: ids `[rows]` and embeddings `[rows, dim]`."""
        for first in range(0, len(self), _ROWS_AT_ONCE):
            part = slice(first, first + _ROWS_AT_ONCE)
            yield self.ids[part], self.candidates[part]

    def _limits(self, exclude: Sequence[Ids] | None, include: Sequence[Ids | None] | None) -> Limits | None:
        return Limits.of(
            None if exclude is None else [self._table.rows(ids) for ids in exclude],
            None if include is None else [None if ids is None else self._table.rows(ids) for ids in include],
        )

    def _check_rows(self, embeddings: Tensor, ids: Ids) -> None:
        check_candidates(embeddings, id_array(ids))
        if embeddings.size(1) != self._rows.size(1):
            raise ValueError(
                f"candidates have to be [rows, {self._rows.size(1)}], got {list(embeddings.shape)}"
            )

    def _write(self, rows: NDArray[np.int64], embeddings: Tensor) -> None:
        if not len(rows):
            return
        if not self._may_write:
            with torch.inference_mode(False):
                self._rows, self._may_write = self._rows.clone(), True
        self._rows[torch.from_numpy(rows).to(self._rows.device)] = embeddings.detach().to(self._rows)


def _all_that_may_come(limits: Limits, queries: int) -> NDArray[np.int64] | None:
    """Give the rows that are included for some query, None where a query may get all."""
    return np.unique(limits.included[0]) if len(limits.restricted) == queries else None


def _places(scores: Tensor, rows: Tensor, work: Tensor) -> Tensor:
    """Give first and last place of column `rows` `[queries, 1]` among the scores; int64 `[2, queries]`."""
    own = scores.gather(1, rows)
    place = count(torch.gt, scores, own, work)
    last = count(torch.ge, scores, own, work) - 1
    tied = (last > place).nonzero()[:, 0]
    if len(tied):
        columns = torch.arange(scores.size(1), device=scores.device)
        place[tied] += ((scores[tied] == own[tied]) & (columns < rows[tied])).sum(1)
    places = torch.stack([place, last])
    return places.masked_fill(~own.isfinite().T, scores.size(1))
