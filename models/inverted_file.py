"""faiss's inverted file with rows that come and go, in memory or mapped."""

import math
from pathlib import Path
from threading import Lock
from types import ModuleType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

__all__ = ["InvertedFile", "lists_for"]

# As many candidates for each cluster as k-means of faiss wants at least.
_CANDIDATES_A_LIST = 39
# One for all, since an index that has a lock of its own can't be copied.
_MAPPING = Lock()


def lists_for(candidates: int) -> int:
    """Give a sensible number of lists: the square root, so that finding lists and reading them cost alike."""
    return max(1, min(math.isqrt(candidates), candidates // _CANDIDATES_A_LIST))


class InvertedFile:
    """Vectors in lists around centroids, each vector with its row as its number.

    Args:
        index: A trained `faiss.IndexIVFFlat` by inner product.
        is_mapped: Whether its lists are a file's, which faiss can't change.
    """

    def __init__(self, index: Any, *, is_mapped: bool = False) -> None:
        self._index = index
        self._is_mapped = is_mapped
        self._has_map = False

    @classmethod
    def of(cls, vectors: NDArray[np.float32], lists: int, seed: int) -> Self:
        """Make lists from vectors `[rows, dim]` and put them there.

        Raises:
            ImportError: faiss is not installed.
            ValueError: There are fewer vectors than lists, or no lists.
        """
        faiss = _faiss()
        if not 1 <= lists <= len(vectors):
            raise ValueError(f"lists have to be between 1 and the {len(vectors)} candidates, got {lists}")
        dimension = vectors.shape[1]
        quantizer = faiss.IndexFlatIP(dimension)
        index = faiss.IndexIVFFlat(quantizer, dimension, lists, faiss.METRIC_INNER_PRODUCT)
        index.cp.seed = seed
        # What faiss would print a warning about was asked for.
        index.cp.min_points_per_centroid = 1
        index.train(vectors)
        index.add(vectors)
        return cls(index)

    @property
    def lists(self) -> int:
        """How many lists there are."""
        return int(self._index.nlist)

    @property
    def dimension(self) -> int:
        """The vectors' length."""
        return int(self._index.d)

    def nearest(
        self, queries: NDArray[np.float32], k: int, probes: int
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Give the best of the lists nearest to each query: scores and rows `[queries, k]`, -1 for none."""
        if not k or not len(queries):
            return np.empty((len(queries), k), dtype=np.float32), np.empty((len(queries), k), dtype=np.int64)
        settings = _faiss().SearchParametersIVF(nprobe=min(probes, self.lists))
        scores, rows = self._index.search(queries, k, params=settings)
        return scores, rows

    def vectors(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Give the vectors of rows that are there, `[rows, dim]`."""
        if not len(rows):
            return np.empty((0, self.dimension), dtype=np.float32)
        self._map_rows()
        vectors: NDArray[np.float32] = self._index.reconstruct_batch(rows)
        return vectors

    def add(self, vectors: NDArray[np.float32], rows: NDArray[np.int64]) -> None:
        """Add vectors as rows that are not there yet."""
        if len(rows):
            self._own()
            self._index.add_with_ids(vectors, rows)

    def remove(self, rows: NDArray[np.int64]) -> None:
        """Remove rows that are there."""
        if len(rows):
            self._own()
            # Without its map faiss would look through all lists.
            self._map_rows()
            self._index.remove_ids(rows)

    def save(self, path: Path) -> None:
        """Write everything to a file."""
        faiss = _faiss()
        index, _lists = self._whole()
        faiss.write_index(index, str(path))

    @classmethod
    def load(cls, path: Path, shape: tuple[int, int, int], *, mmap: bool) -> Self:
        """Read or map a file of so many rows, of this dimension, in so many lists.

        Raises:
            ImportError: faiss is not installed.
            ValueError: The file is missing, malformed, without vectors, of another shape, or its rows are not
                0, 1, ….
        """
        faiss = _faiss()
        try:
            index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP if mmap else 0)
        except RuntimeError as error:
            raise ValueError(f"{path} can't be read: {error}") from error
        if not isinstance(index, faiss.IndexIVFFlat) or index.metric_type != faiss.METRIC_INNER_PRODUCT:
            raise ValueError(f"{path} holds no inverted file compared by inner product")
        got = (index.ntotal, index.d, index.nlist)
        if got != shape or index.quantizer.ntotal != index.nlist or index.quantizer.d != index.d:
            raise ValueError(f"{path} has size, dimension and lists {got}, its description says {shape}")
        lists = faiss.downcast_InvertedLists(index.invlists)
        # faiss writes mapped lists as the name of their file; read without one they point to nothing.
        if isinstance(lists, faiss.OnDiskInvertedLists) and (not mmap or lists.ptr is None):
            raise ValueError(f"{path} refers to vectors in another file: save the index anew")
        parts = [
            faiss.rev_swig_ptr(lists.get_ids(number), lists.list_size(number)).copy()
            for number in range(index.nlist)
            if lists.list_size(number)
        ]
        rows = np.sort(np.concatenate(parts)) if parts else np.empty(0, dtype=np.int64)
        if not np.array_equal(rows, np.arange(index.ntotal)):
            raise ValueError(f"{path} does not have each of its {index.ntotal} rows once")
        return cls(index, is_mapped=mmap)

    def __getstate__(self) -> NDArray[np.uint8]:
        """Give everything as bytes."""
        index, _lists = self._whole()
        written: NDArray[np.uint8] = _faiss().serialize_index(index)
        return written

    def __setstate__(self, written: NDArray[np.uint8]) -> None:
        """Take everything over, in memory."""
        self._index = _faiss().deserialize_index(written)
        self._is_mapped = self._has_map = False

    def _map_rows(self) -> None:
        # A search that comes while the map is made would miss rows, and one that makes it too would break it.
        with _MAPPING:
            if not self._has_map:
                self._index.set_direct_map_type(_faiss().DirectMap.Hashtable)
                self._has_map = True

    def _own(self) -> None:
        """Copy mapped lists to memory: faiss ends the process when it is asked to change them."""
        if self._is_mapped:
            lists = self._lists_in_memory()
            self._index.set_direct_map_type(_faiss().DirectMap.NoMap)
            self._index.replace_invlists(lists, True)
            lists.this.disown()
            self._is_mapped = self._has_map = False

    def _whole(self) -> tuple[Any, Any]:
        """Give an index to write, without the map, which is made anew where needed, and what it refers to."""
        faiss = _faiss()
        source = self._index
        index = faiss.IndexIVFFlat(source.quantizer, source.d, source.nlist, source.metric_type)
        lists = self._lists_in_memory() if self._is_mapped else source.invlists
        index.replace_invlists(lists)
        index.ntotal = source.ntotal
        return index, lists

    def _lists_in_memory(self) -> Any:
        faiss = _faiss()
        lists = faiss.ArrayInvertedLists(self._index.nlist, self._index.code_size)
        every = (faiss.InvertedLists.SUBSET_TYPE_ID_RANGE, 0, np.iinfo(np.int64).max)
        self._index.invlists.copy_subset_to(lists, *every)
        return lists


def _faiss() -> ModuleType:
    try:
        import faiss
    except ImportError as error:
        raise ImportError("Faiss needs faiss-cpu: pip install 'torchtowers[faiss]'") from error
    return faiss
