"""The exact index over batches of candidates; TFRS's `layers.factorized_top_k.Streaming`."""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from torchtowers.models.best_rows import BestRows, Limits
from torchtowers.models.index import (
    Ids,
    TopK,
    check_candidates,
    check_kinds,
    check_search,
    id_array,
    id_kinds,
    python_ids,
    take_ids,
)

__all__ = ["CandidateBatches", "Streaming", "check_batches", "read_batches"]

_ROWS_AT_ONCE = 1 << 13
_IDS_KEPT = 1 << 20

_Batch = tuple[Ids | None, Tensor] | Tensor
CandidateBatches = Iterable[_Batch] | Callable[[], Iterable[_Batch]]


class Streaming:
    """Candidates that are read batch by batch at each search, so that they may be larger than memory.

    A search keeps the best so far with their ids, never the embeddings. The batches' sizes don't matter:
    small ones are put together, and the answers are `BruteForce`'s.

    Args:
        batches: Pairs of ids `[rows]` and embeddings `[rows, dim]`, or embeddings alone, of which the numbers
            of the rows in the stream are the ids (None in a pair means the same). Something that can be read
            again at each search, or a function that starts anew.

    Raises:
        TypeError: The batches are an iterator, which can be read only once, or one tensor.

    Example:
        >>> batches = [(["a", "b"], torch.tensor([[1.0], [3.0]])), (["c"], torch.tensor([[2.0]]))]
        >>> Streaming(batches).search(torch.tensor([[1.0]]), k=2).pairs()
        [[('b', 3.0), ('c', 2.0)]]
    """

    is_exact = True

    def __init__(self, batches: CandidateBatches) -> None:
        check_batches(batches)
        self.batches = batches

    def search(
        self,
        queries: Tensor,
        k: int,
        exclude: Sequence[Ids] | None = None,
        include: Sequence[Ids | None] | None = None,
    ) -> TopK:
        """Give for each query its best k candidates.

        Args:
            queries: `[queries, dim]`, of any type as for `BruteForce`; all are compared with one reading of
                the batches.
            k: How many each query wants; fewer candidates give shorter answers.
            exclude: For each query the ids that it must not get; ids that are no candidates are ignored.
            include: For each query the only ids that it may get, or None where it may get all.

        Raises:
            TypeError: A text stands where a list of ids is expected, ids are of another type than all of the
                candidates', or a batch is neither embeddings nor a pair.
            ValueError: The queries' shape, k, the number of lists of ids or a batch does not fit.
        """
        check_search(queries, k, queries.size(-1), exclude, include)
        excluded = _positions_by_id(exclude)
        included = _positions_by_id(include)
        restricted = [
            place for place, ids in enumerate(include if include is not None else ()) if ids is not None
        ]
        best, names = BestRows(queries, k), _Names()
        kinds: frozenset[str] = frozenset()
        for ids, embeddings in _larger(self.blocks()):
            check_search(queries, k, embeddings.size(1))
            limits = None
            if excluded or restricted:
                kinds |= id_kinds(ids)
                limits = Limits(
                    _pairs(ids, excluded), _pairs(ids, included), np.array(restricted, dtype=np.int64)
                )
            best.add(embeddings, limits)
            names.add(ids, best)
        check_kinds(kinds, [*excluded, *included])
        scores, rows = best.found()
        return TopK(scores, names.of(rows, scores))

    def blocks(self) -> Iterator[tuple[NDArray[Any], Tensor]]:
        """Give all candidates in order: ids `[rows]` and embeddings `[rows, dim]`."""
        return read_batches(self.batches)


def check_batches(batches: CandidateBatches) -> None:
    """Refuse an iterator, empty at the second search, and a tensor, whose rows are no batches.

    Raises:
        TypeError: The batches are an iterator or a tensor.
    """
    if isinstance(batches, Tensor):
        raise TypeError(
            f"the batches are one tensor {list(batches.shape)}: use BruteForce, or give a list of it"
        )
    if isinstance(batches, Iterator):
        raise TypeError(
            f"the batches are a {type(batches).__name__}, which can be read only once: "
            "give a list or a function that starts anew"
        )


def read_batches(batches: CandidateBatches) -> Iterator[tuple[NDArray[Any], Tensor]]:
    """Read batches once, checked: ids `[rows]` and embeddings `[rows, dim]`.

    Raises:
        TypeError: A batch is neither embeddings nor a pair of ids and embeddings.
        ValueError: A batch's embeddings are no matrix or of another width than those before, or there is
            another number of ids.
    """
    first = 0
    dimension: int | None = None
    for batch in batches() if callable(batches) else batches:
        given, embeddings = _pair(batch)
        ids = None if given is None else id_array(given)
        check_candidates(embeddings, ids)
        if len(embeddings):
            if dimension is None:
                dimension = embeddings.size(1)
            elif embeddings.size(1) != dimension:
                raise ValueError(
                    f"all batches have to be [rows, {dimension}] as the first, got {list(embeddings.shape)}"
                )
            yield np.arange(first, first + len(embeddings)) if ids is None else ids, embeddings.detach()
        first += len(embeddings)


def _pair(batch: _Batch) -> tuple[Ids | None, Tensor]:
    if isinstance(batch, Tensor):
        return None, batch
    # A DataLoader makes lists of tuples.
    if isinstance(batch, tuple | list) and len(batch) == 2 and isinstance(batch[1], Tensor):
        return batch[0], batch[1]
    what = type(batch).__name__
    if isinstance(batch, tuple | list):
        what += f" of {', '.join(type(part).__name__ for part in batch) or 'nothing'}"
    raise TypeError(f"a batch is embeddings or a pair of ids and embeddings, got a {what}")


class _Names:
    """The ids of the rows that are among the best, and now and then of some that were."""

    def __init__(self) -> None:
        self._rows = [np.empty(0, dtype=np.int64)]
        self._ids: list[NDArray[Any]] = [np.empty(0, dtype=np.int64)]
        self._limit = _IDS_KEPT

    def add(self, ids: NDArray[Any], best: BestRows) -> None:
        """Remember the ids of the rows that `best` saw last."""
        self._rows.append(np.arange(best.seen - len(ids), best.seen))
        self._ids.append(ids)
        if sum(map(len, self._rows)) > self._limit:
            _, found = best.found()
            rows, names = np.concatenate(self._rows), np.concatenate(self._ids)
            keep = np.isin(rows, found.cpu().numpy())
            self._rows, self._ids = [rows[keep]], [names[keep]]
            # So that the work of looking through them stays in proportion to what is read.
            self._limit = max(_IDS_KEPT, 2 * int(keep.sum()))

    def of(self, rows: Tensor, scores: Tensor) -> NDArray[Any]:
        """Give the ids of the best rows `[queries, width]`."""
        places = np.searchsorted(np.concatenate(self._rows), rows.cpu().numpy())
        return take_ids(np.concatenate(self._ids), torch.from_numpy(places), scores)


def _larger(batches: Iterable[tuple[NDArray[Any], Tensor]]) -> Iterator[tuple[NDArray[Any], Tensor]]:
    """Put batches together until they have thousands of rows, since each costs some calls."""
    ids: list[NDArray[Any]] = []
    embeddings: list[Tensor] = []
    for names, rows in batches:
        ids.append(names)
        embeddings.append(rows)
        if sum(map(len, ids)) >= _ROWS_AT_ONCE:
            yield np.concatenate(ids), torch.cat(embeddings)
            ids, embeddings = [], []
    if ids:
        yield np.concatenate(ids), torch.cat(embeddings)


def _positions_by_id(lists: Sequence[Ids | None] | None) -> dict[Hashable, list[int]]:
    positions = defaultdict(list)
    for position, ids in enumerate(lists if lists is not None else ()):
        for identifier in python_ids(ids) if ids is not None else ():
            positions[identifier].append(position)
    return dict(positions)


def _pairs(ids: NDArray[Any], positions: Mapping[Hashable, list[int]]) -> NDArray[np.int64]:
    """Give the rows and positions of the ids that stand in the queries' lists; int64 `[2, pairs]`."""
    if not positions:
        return np.empty((2, 0), dtype=np.int64)
    found = [(row, places) for row, places in enumerate(map(positions.get, ids.tolist())) if places]
    rows = np.repeat([row for row, _ in found], [len(places) for _, places in found]).astype(np.int64)
    return np.stack([rows, np.array([place for _, places in found for place in places], dtype=np.int64)])
