"""The exact index against a reference that sorts everything."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.handlers.small import EMBEDDINGS, ITEMS, all_of, examples, json_texts, write_index
from torchtowers.handlers.errors import ArtifactError
from torchtowers.handlers.index import ExactIndex, top_rows
from torchtowers.handlers.index_spec import IndexSpec
from torchtowers.handlers.strings import StringTable
from torchtowers.handlers.token_table import TokenTable
from torchtowers.handlers.vectors import Vectors, quantized

SPEC = IndexSpec(4, 2, "dot", True, "index/embeddings.npy", "index/ids")
NO_ROWS = np.empty(0, dtype=np.int64)


def small_index() -> ExactIndex:
    return ExactIndex(Vectors(EMBEDDINGS), TokenTable.of(ITEMS))


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


@examples(100)
@given(
    count=st.integers(1, 400),
    values=st.integers(1, 40),
    k=st.integers(1, 12),
    seed=st.integers(0, 1 << 30),
)
def test_equals_the_reference_where_it_looks_at_groups(count: int, values: int, k: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    array = random.integers(-values, values, count).astype(np.float32)
    array[random.random(count) < 0.1] = random.choice(NOT_FINITE)
    excluded = np.flatnonzero(random.random(count) < 0.3)
    expected = reference(array, k, set(excluded.tolist()))
    found, scores = top_rows(array.copy(), k, excluded)
    assert found.tolist() == expected
    assert scores.tolist() == array[expected].tolist()


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
    write_index(tmp_path, SPEC, EMBEDDINGS, json_texts(ITEMS))
    index = ExactIndex.load(tmp_path, SPEC)
    assert len(index) == 4
    assert index.vectors.values.tolist() == EMBEDDINGS.tolist()
    assert all_of(index.ids) == ['"10"', '"11"', '"12"', '"13"']


def test_an_empty_catalogue_gives_empty_lists(tmp_path: Path) -> None:
    spec = replace(SPEC, size=0)
    write_index(tmp_path, spec, np.empty((0, 2), np.float32), StringTable.of([]))
    index = ExactIndex.load(tmp_path, spec)
    ((rows, scores),) = index.search(np.ones((1, 2), np.float32), [10], [NO_ROWS])
    assert (len(rows), len(scores)) == (0, 0)


def test_refuses_ids_that_do_not_fit() -> None:
    with pytest.raises(ArtifactError, match="4 embeddings and 3 ids"):
        ExactIndex(Vectors(EMBEDDINGS), TokenTable.of(ITEMS[:3]))


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
    write_index(tmp_path, SPEC, EMBEDDINGS, json_texts(ITEMS))
    with pytest.raises(ArtifactError, match=message):
        ExactIndex.load(tmp_path, replace(SPEC, **change))  # type: ignore[arg-type]


@pytest.mark.parametrize("value", NOT_FINITE)
def test_refuses_embeddings_that_are_not_finite(tmp_path: Path, value: float) -> None:
    embeddings = EMBEDDINGS.copy()
    embeddings[2, 1] = value
    write_index(tmp_path, SPEC, EMBEDDINGS, json_texts(ITEMS))
    np.save(tmp_path / SPEC.embeddings, embeddings)
    with pytest.raises(ArtifactError, match="not finite"):
        ExactIndex.load(tmp_path, SPEC)


INT8 = replace(SPEC, dtype="int8", scales="index/scales.npy")
RESCORED = replace(INT8, rescoring="index/rescoring.npy")


def random_index(dtype: str, *, rescored: bool = False, rows: int = 3_000) -> tuple[ExactIndex, Any]:
    embeddings = np.random.default_rng(1).standard_normal((rows, 16)).astype(np.float32)
    index = ExactIndex(
        quantized(embeddings, dtype),
        TokenTable.of(map(str, range(rows))),
        rescoring=embeddings if rescored else None,
    )
    return index, embeddings


@examples(30)
@given(
    st.integers(1, 4_000),
    st.lists(st.integers(0, 2_999), max_size=50),
    st.integers(0, 1_000),
)
def test_scored_again_an_int8_index_gives_what_a_float32_one_gives(
    k: int, excluded: list[int], seed: int
) -> None:
    query = np.random.default_rng(seed).standard_normal((1, 16)).astype(np.float32)
    rows_out = [np.array(excluded, np.int64)]
    (expected, scores), *_ = random_index("float32")[0].search(query, [k], rows_out)
    (rows, found), *_ = random_index("int8", rescored=True)[0].search(query, [k], rows_out)
    np.testing.assert_allclose(found, scores, rtol=0, atol=1e-5)
    # Where scores are equal to the last digit, either may come first.
    assert set(rows.tolist()) == set(expected.tolist())


def test_few_rows_are_scored_again() -> None:
    """Else the float32 embeddings would be read from the disk wholly."""
    index, embeddings = random_index("int8", rescored=True)
    touched: list[int] = []

    class Watched:
        def __getitem__(self, rows: Any) -> Any:
            touched.append(len(rows))
            return embeddings[rows]

    index.rescoring = Watched()  # type: ignore[assignment]
    index.search(np.ones((1, 16), np.float32), [10], [NO_ROWS])
    assert 10 <= touched[0] < 100


@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_a_smaller_index_finds_nearly_the_same(dtype: str) -> None:
    queries = np.random.default_rng(2).standard_normal((50, 16)).astype(np.float32)
    best, _ = random_index("float32")
    smaller, _ = random_index(dtype)
    ks, nothing = [100] * 50, [NO_ROWS] * 50
    pairs = zip(best.search(queries, ks, nothing), smaller.search(queries, ks, nothing), strict=True)
    shares = [np.isin(expected, got).mean() for (expected, _), (got, _) in pairs]
    assert np.mean(shares) > 0.97


@pytest.mark.parametrize(
    ("spec", "dtype", "rescored"),
    [(replace(SPEC, dtype="float16"), "float16", False), (INT8, "int8", False), (RESCORED, "int8", True)],
)
def test_a_smaller_index_comes_back_from_its_files(
    tmp_path: Path, spec: IndexSpec, dtype: str, rescored: bool
) -> None:
    index, embeddings = random_index(dtype, rescored=rescored)
    spec = replace(spec, size=3_000, dimension=16)
    write_index(tmp_path, spec, embeddings, index.ids)
    loaded = ExactIndex.load(tmp_path, spec)
    query = np.ones((1, 16), np.float32)
    (rows, scores), (found, others) = (part.search(query, [7], [NO_ROWS])[0] for part in (index, loaded))
    assert np.array_equal(rows, found)
    assert np.array_equal(scores, others)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dtype": "int4"}, "the index is int4 with scales; this version knows float32, float16, int8"),
        ({"scales": None}, "the index is int8 without scales"),
        ({"dtype": "float16"}, "the index is float16 with scales"),
        ({"dtype": "float32", "scales": None}, "expected 2 dimensions of float32, got 2 of int8"),
        ({"scales": "index/embeddings.npy"}, "expected 1 dimensions of float32, got 2 of int8"),
        ({"rescoring": "index/scales.npy"}, "expected 2 dimensions of float32, got 1 of float32"),
        ({"rescoring": "index/none.npy"}, r"index/none.npy in .* can't be read"),
    ],
)
def test_refuses_smaller_files_that_do_not_fit(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    index, embeddings = random_index("int8")
    spec = replace(INT8, size=3_000, dimension=16)
    write_index(tmp_path, spec, embeddings, index.ids)
    with pytest.raises(ArtifactError, match=message):
        ExactIndex.load(tmp_path, replace(spec, **change))  # type: ignore[arg-type]


def test_refuses_scores_again_of_what_is_no_int8(tmp_path: Path) -> None:
    write_index(tmp_path, SPEC, EMBEDDINGS, json_texts(ITEMS))
    with pytest.raises(ArtifactError, match="only an int8 index is scored again, this one is float32"):
        ExactIndex.load(tmp_path, replace(SPEC, rescoring="index/embeddings.npy"))


@pytest.mark.parametrize("rescored", [False, True], ids=["float32", "int8 scored again"])
@examples(60)
@given(st.data())
def test_rows_that_are_not_allowed_never_come_back(rescored: bool, data: st.DataObject) -> None:
    generator = np.random.default_rng(data.draw(st.integers(0, 99)))
    embeddings = generator.standard_normal((20, 3)).astype(np.float32)
    ids = TokenTable.of(str(row) for row in range(20))
    vectors = quantized(embeddings, "int8" if rescored else "float32")
    index = ExactIndex(vectors, ids, rescoring=embeddings if rescored else None)
    queries = generator.standard_normal((3, 3)).astype(np.float32)
    masks = data.draw(st.lists(st.none() | st.lists(st.booleans(), min_size=20, max_size=20), min_size=3))[:3]
    allowed = [None if mask is None else np.array(mask) for mask in masks]
    excluded = [np.array(data.draw(st.lists(st.integers(0, 19), max_size=5)), np.int64) for _ in masks]
    ks = data.draw(st.lists(st.integers(1, 25), min_size=3, max_size=3))
    found = index.search(queries, ks, excluded, allowed)
    for query, k, out, mask, (rows, scores) in zip(queries, ks, excluded, allowed, found, strict=True):
        expected = embeddings @ query
        none = set() if mask is None else set(np.flatnonzero(~mask).tolist())
        kept = reference(expected, k, none | set(out.tolist()))
        assert rows.tolist() == kept
        np.testing.assert_allclose(scores, expected[kept], rtol=1e-5, atol=1e-6)
