"""The exact index over batches of candidates; TFRS's `layers.factorized_top_k.Streaming`."""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
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

__all__ = ["CandidateBatches", "Streaming", "check_readable_again", "read_batches"]

CandidateBatches = Iterable[tuple[Ids | None, Tensor]] | Callable[[], Iterable[tuple[Ids | None, Tensor]]]


class Streaming:
    """Candidates that are read batch by batch at each search, so that they may be larger than memory.

    A search keeps the best so far and the ids, never the embeddings. The batches' sizes don't matter: the
    answers are `BruteForce`'s.

    Args:
        batches: Pairs of ids `[rows]` (None: the rows' numbers in the stream) and embeddings `[rows, dim]`,
            as something that can be read again at each search, or a function that starts anew.

    Raises:
        TypeError: The batches are an iterator, which can be read only once.

    Example:
        >>> batches = [(["a", "b"], torch.tensor([[1.0], [3.0]])), (["c"], torch.tensor([[2.0]]))]
        >>> Streaming(batches).search(torch.tensor([[1.0]]), k=2).pairs()
        [[('b', 3.0), ('c', 2.0)]]
    """

    is_exact = True

    def __init__(self, batches: CandidateBatches) -> None:
        check_readable_again(batches)
        self.batches = batches

    def search(self, queries: Tensor, k: int, exclude: Sequence[Ids] | None = None) -> TopK:
        """Give for each query its best k candidates.

        Args:
            queries: `[queries, dim]`; all are scored against a batch at once, `[queries, rows]`.
            k: How many each query wants; fewer candidates give shorter answers.
            exclude: For each query the ids that it must not get; ids that are no candidates are ignored.

        Raises:
            TypeError: A text stands where a list of ids is expected.
            ValueError: The queries' shape, k, the number of exclusion lists or a batch does not fit.
        """
        check_search(queries, k, queries.size(-1), exclude)
        positions = _positions_by_id(exclude)
        best = queries.new_empty(len(queries), 0)
        rows = torch.empty(best.shape, dtype=torch.int64, device=best.device)
        names: list[NDArray[Any]] = [np.empty(0, dtype=np.int64)]
        first = 0
        with torch.no_grad():
            for ids, embeddings in self.blocks():
                check_search(queries, k, embeddings.size(1), exclude)
                scores = queries @ embeddings.T
                if positions:
                    _mask(scores, ids, positions)
                numbers = torch.arange(first, first + len(ids), device=rows.device).expand(scores.shape)
                # The best so far stand first, since among equal scores the lower column goes first.
                best, columns = top_columns(torch.cat([best, scores], 1), k)
                rows = torch.cat([rows, numbers], 1).gather(1, columns)
                names.append(ids)
                first += len(ids)
        return TopK(best, take_ids(np.concatenate(names), rows, best))

    def blocks(self) -> Iterator[tuple[NDArray[Any], Tensor]]:
        """Give all candidates in order: ids `[rows]` and embeddings `[rows, dim]`."""
        return read_batches(self.batches)


def check_readable_again(batches: CandidateBatches) -> None:
    """Refuse an iterator, which would be empty at the second search.

    Raises:
        TypeError: The batches are an iterator.
    """
    if isinstance(batches, Iterator):
        raise TypeError(
            f"the batches are a {type(batches).__name__}, which can be read only once: "
            "give a list or a function that starts anew"
        )


def read_batches(batches: CandidateBatches) -> Iterator[tuple[NDArray[Any], Tensor]]:
    """Read batches once, checked: ids `[rows]` and embeddings `[rows, dim]`.

    Raises:
        ValueError: A batch's embeddings are no matrix, or there is another number of ids.
    """
    first = 0
    for given, embeddings in batches() if callable(batches) else batches:
        ids = None if given is None else id_array(given)
        check_candidates(embeddings, ids)
        if len(embeddings):
            yield np.arange(first, first + len(embeddings)) if ids is None else ids, embeddings.detach()
        first += len(embeddings)


def _positions_by_id(exclude: Sequence[Ids] | None) -> dict[Hashable, list[int]]:
    positions = defaultdict(list)
    for position, ids in enumerate(exclude if exclude is not None else ()):
        for identifier in python_ids(ids):
            positions[identifier].append(position)
    return dict(positions)


def _mask(scores: Tensor, ids: NDArray[Any], positions: dict[Hashable, list[int]]) -> None:
    for column, identifier in enumerate(ids.tolist()):
        if identifier in positions:
            scores[positions[identifier], column] = -torch.inf
