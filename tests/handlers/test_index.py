"""The exact index against a reference that sorts everything."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.handlers.small import EMBEDDINGS, ITEMS, all_of, examples, json_texts
from torchtowers.handlers.errors import ArtifactError
from torchtowers.handlers.index import ExactIndex, top_rows
from torchtowers.handlers.signature import IndexSpec
from torchtowers.handlers.strings import StringTable

SPEC = IndexSpec(4, 2, "dot", True, "index/embeddings.npy", "index/ids")
NO_ROWS = np.empty(0, dtype=np.int64)


def small_index() -> ExactIndex:
    return ExactIndex(EMBEDDINGS, json_texts(ITEMS))


def reference(scores: NDArray[np.float32], k: int, excluded: set[int]) -> list[int]:
    allowed = [row for row in range(len(scores)) if row not in excluded and np.isfinite(scores[row])]
    return sorted(allowed, key=lambda row: (-scores[row], row))[:k]


@pytest.mark.parametrize(
    ("query", "k", "excluded", "rows", "scores"),
    [
        ([2, 1], 2, [], [3, 2], [4, 3]),
        ([2, 2], 4, [], [2, 3, 0, 1], [4, 4, 2, 2]),  # ties go by row
        ([2, 2], 1, [], [2], [4]),
        ([2, 2], 3, [2], [3, 0, 1], [4, 2, 2]),
        ([2, 1], 9, [], [3, 2, 0, 1], [4, 3, 2, 1]),  # all there are
        ([2, 1], 9, [3, 1, 3], [2, 0], [3, 2]),
        ([0, 0], 2, [0], [1, 2], [0, 0]),
        ([-1, 0], 2, [], [1, 0], [0, -1]),
        ([2, 1], 2, [0, 1, 2, 3], [], []),
    ],
)
def test_best_rows(query: list[int], k: int, excluded: list[int], rows: list[int], scores: list[int]) -> None:
    queries = np.array([query], dtype=np.float32)
    ((found, values),) = small_index().search(queries, [k], [np.array(excluded, dtype=np.int64)])
    assert found.tolist() == rows
    assert values.tolist() == scores
    assert values.dtype == np.float32


def test_each_query_of_a_batch_has_its_own_k_and_exclusions() -> None:
    queries = np.array([[2, 1], [0, 1]], dtype=np.float32)
    found = small_index().search(queries, [1, 3], [np.array([3]), NO_ROWS])
    assert [rows.tolist() for rows, _ in found] == [[2], [1, 2, 0]]
    assert small_index().search(np.empty((0, 2), np.float32), [], []) == []


NOT_FINITE = [np.nan, np.inf, -np.inf]


@examples(300)
@given(
    scores=st.lists(st.integers(-3, 3) | st.floats(width=32) | st.sampled_from(NOT_FINITE), max_size=12),
    k=st.integers(1, 15),
    data=st.data(),
)
def test_equals_the_reference(scores: list[float], k: int, data: st.DataObject) -> None:
    array = np.array(scores, dtype=np.float32)
    rows = st.lists(st.integers(0, len(scores) - 1)) if scores else st.just([])
    excluded = data.draw(rows)
    expected = reference(array, k, set(excluded))
    found, values = top_rows(array.copy(), k, np.array(excluded, dtype=np.int64))
    assert found.tolist() == expected
    assert values.tolist() == array[expected].tolist()


@pytest.mark.parametrize("value", NOT_FINITE)
def test_a_score_that_is_not_finite_takes_no_place(value: float) -> None:
    rows, scores = top_rows(np.array([value, 3, 2, 1], dtype=np.float32), 2)
    assert rows.tolist() == [1, 2]
    assert scores.tolist() == [3, 2]


def test_rows_of_ids_leaves_unknown_ones_out() -> None:
    index = small_index()
    assert index.rows_of(["12", "nobody", 10, "\ud800", "", 10**400]).tolist() == [2, 0]
    assert index.rows_of([]).tolist() == []
    assert index.rows_of(["nobody"]).dtype == np.int64


def test_comes_back_from_its_files(tmp_path: Path) -> None:
    small_index().save(tmp_path, SPEC)
    index = ExactIndex.load(tmp_path, SPEC)
    assert len(index) == 4
    assert index.embeddings.tolist() == EMBEDDINGS.tolist()
    assert all_of(index.ids) == ['"10"', '"11"', '"12"', '"13"']


def test_an_empty_catalogue_gives_empty_lists(tmp_path: Path) -> None:
    spec = replace(SPEC, size=0)
    ExactIndex(np.empty((0, 2), np.float32), StringTable.of([])).save(tmp_path, spec)
    index = ExactIndex.load(tmp_path, spec)
    ((rows, scores),) = index.search(np.ones((1, 2), np.float32), [10], [NO_ROWS])
    assert (len(rows), len(scores)) == (0, 0)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (['"10"', '"11"', '"12"'], "4 embeddings and 3 ids"),
        (['"10"', '"11"', '"12"', '"10"'], "4 candidates and only 3 distinct ids"),
        (['"10"', '"11"', '"12"', "13"], "ids have to be strings"),
        (['"10"', '"11"', '"12"', '["13"]'], "ids have to be strings"),
        (["10", "11", "12", "x"], "ids: its values are not JSON"),
    ],
)
def test_refuses_ids_that_do_not_fit(texts: list[str], message: str) -> None:
    with pytest.raises(ArtifactError, match=message):
        ExactIndex(EMBEDDINGS, StringTable.of(texts))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": 5}, r"index/embeddings.npy is \(4, 2\), the signature says \(5, 2\)"),
        ({"dimension": 3}, r"the signature says \(4, 3\)"),
        ({"metric": "cosine"}, "expected an exact index compared by dot"),
        ({"exact": False}, "expected an exact index compared by dot"),
        ({"embeddings": "index/none.npy"}, r"index/none.npy in .* can't be read"),
        ({"ids": "index/none"}, "can't be read"),
    ],
)
def test_refuses_files_that_do_not_fit_the_signature(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    small_index().save(tmp_path, SPEC)
    with pytest.raises(ArtifactError, match=message):
        ExactIndex.load(tmp_path, replace(SPEC, **change))  # type: ignore[arg-type]


@pytest.mark.parametrize("value", NOT_FINITE)
def test_refuses_embeddings_that_are_not_finite(tmp_path: Path, value: float) -> None:
    embeddings = EMBEDDINGS.copy()
    embeddings[2, 1] = value
    ExactIndex(embeddings, json_texts(ITEMS)).save(tmp_path, SPEC)
    with pytest.raises(ArtifactError, match="not finite"):
        ExactIndex.load(tmp_path, SPEC)
