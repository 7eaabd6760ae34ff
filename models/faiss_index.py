"""The approximate index, an inverted file of faiss; in place of TFRS's `layers.factorized_top_k.ScaNN`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from torchtowers.models.id_table import IdTable
from torchtowers.models.index import Ids, TopK, check_candidates, check_search, id_array, take_ids
from torchtowers.models.index_files import IndexFiles, new_folder
from torchtowers.models.inverted_file import InvertedFile, lists_for

__all__ = ["Faiss", "Recall"]

_KIND = "Faiss"
_SAMPLES = 256
_NO_ROWS = np.empty(0, dtype=np.int64)


class Recall(NamedTuple):
    """How much of the truth an approximate index finds.

    Attributes:
        value: The mean part of each query's true best k that is among the k found, between 0 and 1.
        k: How many are looked for.
        queries: On how many queries it was measured.
    """

    value: float
    k: int
    queries: int


class Faiss:
    """Candidates in lists of similar ones, of which each search reads the few nearest to the query.

    The lists are cells of a spherical k-means, compared by dot product (Jégou et al. 2011, without
    quantisation of the candidates). A candidate in another list is missed: how often, `recall` says, measured
    on sample queries against a search of all lists.

    An excluded candidate never comes back: where too few others are found, more lists are read, all of them
    if need be. Candidates that are included are compared one by one, so that those answers are exact.

    Searches run on the CPU, wherever the queries are, in float32. faiss brings an OpenMP of its own:
    `torch.set_num_threads` does not reach it, `faiss.omp_set_num_threads` and the environment's
    `OMP_NUM_THREADS` do. It takes several threads for several queries, and one for one query. Searches may
    run in several threads of yours at once, but none while candidates are added, removed or updated.

    Args:
        candidates: `[candidates, dim]`, at least one, finite; they are copied.
        ids: The candidates' ids, any hashable values, each once; their rows where left out.
        lists: How many lists; the square root of the number of candidates where left out, and fewer where
            there are few candidates.
        probes: How many lists a search reads; a fiftieth of them, and at least 8, where left out.
        sample_queries: `[queries, dim]`, those that the recall is measured on. 256 of the candidates where
            left out; real queries are better, since theirs may lie elsewhere.
        k: At how many the recall is measured.
        min_recall: Doubles the probes until the recall is at least this.
        seed: Of the choice of samples and of the clusters.

    Attributes:
        probes: How many lists a search reads; may be set.

    Raises:
        ImportError: faiss is not installed.
        ValueError: The candidates are no matrix, none or not finite, an id is given twice, or samples or a
            number do not fit.

    Example:
        >>> candidates = torch.nn.functional.normalize(torch.randn(1000, 8), dim=1)
        >>> index = Faiss(candidates, min_recall=0.99)
        >>> index.search(candidates[:1], k=1).ids.tolist()
        [[0]]
        >>> index.recall.value >= 0.99
        True
    """

    is_exact = False

    _true: NDArray[np.int64] | None
    _recall: Recall | None

    def __init__(
        self,
        candidates: Tensor,
        ids: Ids | None = None,
        *,
        lists: int | None = None,
        probes: int | None = None,
        sample_queries: Tensor | None = None,
        k: int = 100,
        min_recall: float = 0.0,
        seed: int = 0,
    ) -> None:
        check_candidates(candidates, None)
        names = np.arange(len(candidates)) if ids is None else id_array(ids)
        check_candidates(candidates, names)
        if not len(candidates):
            raise ValueError("an inverted file is made from candidates, got none: use BruteForce")
        if k < 1:
            raise ValueError(f"k has to be at least 1, got {k}")
        if not 0 <= min_recall <= 1:
            raise ValueError(f"min_recall has to be between 0 and 1, got {min_recall}")
        vectors = _numpy(candidates, "candidates")
        self._table = IdTable(np.empty(0, dtype=np.int64))
        self._table.add(names)
        self._file = InvertedFile.of(vectors, lists_for(len(vectors)) if lists is None else lists, seed)
        self.probes = max(8, self.lists // 50) if probes is None else probes
        if sample_queries is None:
            sample = np.random.default_rng(seed).permutation(len(vectors))[:_SAMPLES]
            self._samples = vectors[sample]
        else:
            check_search(sample_queries, k, candidates.size(1))
            if not len(sample_queries):
                raise ValueError("the recall is measured on sample queries, got none: leave them out")
            self._samples = _numpy(sample_queries, "sample queries").copy()
        self._recall_at = k
        self._true = self._recall = None
        while self.recall.value < min_recall and self.probes < self.lists:
            self.probes *= 2

    def __len__(self) -> int:
        return len(self._table)

    @property
    def ids(self) -> NDArray[Any]:
        """The candidates' ids, `[candidates]`; a view, as `BruteForce.ids` is."""
        return self._table.ids

    @property
    def lists(self) -> int:
        """How many lists there are."""
        return self._file.lists

    @property
    def probes(self) -> int:
        """How many lists a search reads; may be set, between 1 and `lists` (a higher number means all)."""
        return self._probes

    @probes.setter
    def probes(self, probes: int) -> None:
        if probes < 1:
            raise ValueError(f"probes has to be at least 1, got {probes}")
        self._probes = min(probes, self.lists)
        self._recall = None

    @property
    def recall(self) -> Recall:
        """What part of the truth is found, measured anew where the candidates or `probes` have changed."""
        if self._recall is None:
            k = min(self._recall_at, len(self))
            if self._true is None:
                _, self._true = self._file.nearest(self._samples, k, self.lists)
            _, found = self._best(self._samples, k, [_NO_ROWS] * len(self._samples))
            pairs = zip(self._true, found, strict=True)
            hits = [np.isin(true, other).mean() for true, other in pairs if k]
            self._recall = Recall(float(np.mean(hits)) if hits else 1.0, self._recall_at, len(self._samples))
        return self._recall

    def search(
        self,
        queries: Tensor,
        k: int,
        exclude: Sequence[Ids] | None = None,
        include: Sequence[Ids | None] | None = None,
    ) -> TopK:
        """Give for each query k good candidates, nearly always its best.

        Args:
            queries: `[queries, dim]`, of any type; scores are float32.
            k: How many each query wants; fewer candidates give shorter answers.
            exclude: For each query the ids that it must not get; ids that are no candidates are ignored.
            include: For each query the only ids that it may get, or None where it may get all.

        Raises:
            TypeError: A text stands where a list of ids is expected, or ids are of another type than all of
                the candidates'.
            ValueError: The queries' shape, k or the number of lists of ids does not fit.
        """
        check_search(queries, k, self._file.dimension, exclude, include)
        vectors = np.ascontiguousarray(queries.detach().float().cpu().numpy())
        excluded = self._rows_of(exclude, len(vectors))
        included = [None] * len(vectors) if include is None else include
        scores = np.full((len(vectors), min(k, len(self))), -np.inf, dtype=np.float32)
        rows = np.zeros(scores.shape, dtype=np.int64)
        free = np.array([place for place, ids in enumerate(included) if ids is None], dtype=np.int64)
        scores[free], rows[free] = self._best(vectors[free], scores.shape[1], [excluded[at] for at in free])
        for place, ids in enumerate(included):
            if ids is not None:
                allowed = np.setdiff1d(self._table.rows(ids), excluded[place]).astype(np.int64)
                scored = (self._file.vectors(allowed) @ vectors[place])[None]
                best, order = _sorted(scored, allowed[None], scores.shape[1])
                scores[place, : best.shape[1]], rows[place, : best.shape[1]] = best[0], order[0]
        found = torch.from_numpy(scores)
        return TopK(found.to(queries.device), take_ids(self.ids, torch.from_numpy(rows), found))

    def add(self, embeddings: Tensor, ids: Ids) -> None:
        """Append candidates; the lists stay those of the first ones, so that `recall` may fall.

        Args:
            embeddings: `[rows, dim]`, finite.
            ids: `[rows]`, none of which is in the index yet.

        Raises:
            ValueError: The shapes don't fit, or an id is given twice or in the index already.
        """
        vectors = self._checked(embeddings, ids)
        self._table.check_new(ids)
        self._file.add(vectors, np.arange(len(self), len(self) + len(vectors)))
        self._table.add(ids)
        self._true = self._recall = None

    def remove(self, ids: Ids) -> None:
        """Remove candidates; the last ones get their rows.

        Raises:
            TypeError: Ids are of another type than all of the candidates'.
            ValueError: An id is unknown or given twice.
        """
        free, moved = self._table.moves(ids)
        vectors = self._file.vectors(moved)
        size = len(self) - len(self._table.rows(ids))
        self._file.remove(np.union1d(free, np.arange(size, len(self))))
        self._file.add(vectors, free)
        self._table.remove(ids)
        self._true = self._recall = None

    def update(self, embeddings: Tensor, ids: Ids) -> None:
        """Give candidates other embeddings.

        Args:
            embeddings: `[rows, dim]`, finite.
            ids: `[rows]`, each in the index.

        Raises:
            TypeError: Ids are of another type than all of the candidates'.
            ValueError: The shapes don't fit, or an id is unknown or given twice.
        """
        vectors = self._checked(embeddings, ids)
        rows = self._table.known_rows(ids)
        self._file.remove(rows)
        self._file.add(vectors, rows)
        self._true = self._recall = None

    def save(self, folder: Path | str) -> None:
        """Write the index to a new folder, of which nothing is there until all is.

        Raises:
            FileExistsError: The folder is there already.
            TypeError: An id is neither text nor an integer.
        """
        with new_folder(Path(folder)) as files:
            self._file.save(files.folder / "lists.faiss")
            files.save_array("samples", torch.from_numpy(self._samples))
            files.save_ids(self.ids)
            numbers = {"size": len(self), "dimension": self._file.dimension, "lists": self.lists}
            measured = {"probes": self.probes, "recall": self.recall.value, "recall_at": self._recall_at}
            files.save_header(_KIND, {**numbers, **measured, "samples": len(self._samples)})

    @classmethod
    def load(cls, folder: Path | str, *, mmap: bool = True) -> Self:
        """Read what `save` wrote; from a place that you trust, since faiss itself reads the lists.

        Args:
            folder: The folder.
            mmap: Map the lists rather than read them: processes on one machine share them until the first
                change, which copies them to memory. The files are never written to.

        Raises:
            ImportError: faiss is not installed.
            ValueError: A file is missing, malformed or does not fit the others.
        """
        files = IndexFiles(Path(folder))
        whole = ("size", "dimension", "lists", "probes", "recall_at", "samples")
        header = files.load_header(_KIND, {**dict.fromkeys(whole, int), "recall": float})
        measured = header["recall"] <= 1 and header["recall_at"] and header["samples"]
        if not 1 <= header["probes"] <= header["lists"] or not measured:
            raise ValueError(f"{folder} has numbers that can't be: {header}")
        samples = files.load_array("samples", (header["samples"], header["dimension"]), mmap=False)
        index = cls.__new__(cls)
        index._table = IdTable(files.load_ids(header["size"]))
        if not index._table.is_unique:
            raise ValueError(f"{folder} has ids that stand there twice")
        shape = (header["size"], header["dimension"], header["lists"])
        index._file = InvertedFile.load(files.folder / "lists.faiss", shape, mmap=mmap)
        index.probes, index._true = header["probes"], None
        index._samples = samples.float().numpy()
        index._recall_at = header["recall_at"]
        index._recall = Recall(header["recall"], header["recall_at"], header["samples"])
        return index

    def _rows_of(self, lists: Sequence[Ids] | None, queries: int) -> list[NDArray[np.int64]]:
        if lists is None:
            return [_NO_ROWS] * queries
        return [np.unique(np.array(self._table.rows(ids), dtype=np.int64)) for ids in lists]

    def _best(
        self, vectors: NDArray[np.float32], width: int, excluded: list[NDArray[np.int64]]
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Give the best scores and rows, reading more lists for those queries that get too few."""
        scores = np.full((len(vectors), width), -np.inf, dtype=np.float32)
        rows = np.zeros(scores.shape, dtype=np.int64)
        wanted = np.array([min(width, len(self) - len(own)) for own in excluded], dtype=np.int64)
        # A query that is not finite gets nothing, however much is read.
        todo = np.flatnonzero(np.isfinite(vectors).all(axis=1) & (wanted > 0))
        probes = self.probes
        while len(todo):
            more = max(len(excluded[at]) for at in todo)
            best, found = self._file.nearest(vectors[todo], min(width + more, len(self)), probes)
            for place, at in enumerate(todo):
                if len(excluded[at]):
                    best[place, np.isin(found[place], excluded[at])] = -np.inf
            scores[todo], rows[todo] = _sorted(best, found, width)
            if probes >= self.lists:
                break
            todo = todo[(scores[todo] > -np.inf).sum(axis=1) < wanted[todo]]
            probes *= 2
        return scores, rows

    def _checked(self, embeddings: Tensor, ids: Ids) -> NDArray[np.float32]:
        check_candidates(embeddings, id_array(ids))
        if embeddings.size(1) != self._file.dimension:
            got = list(embeddings.shape)
            raise ValueError(f"candidates have to be [rows, {self._file.dimension}], got {got}")
        return _numpy(embeddings, "candidates")


def _numpy(values: Tensor, what: str) -> NDArray[np.float32]:
    vectors: NDArray[np.float32] = np.ascontiguousarray(values.detach().float().cpu().numpy())
    if not np.isfinite(vectors).all():
        raise ValueError(f"{what} of Faiss have to be finite: leave the others out")
    return vectors


def _sorted(
    scores: NDArray[np.float32], rows: NDArray[np.int64], width: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Give the best `width` of each line, best first, equal ones by row; those not finite as -inf."""
    scores = np.where(np.isfinite(scores) & (rows >= 0), scores, np.float32(-np.inf))
    order = np.lexsort((rows, -scores), axis=1)[:, :width]
    rows = np.take_along_axis(rows, order, axis=1)
    return np.take_along_axis(scores, order, axis=1), np.maximum(rows, 0)
