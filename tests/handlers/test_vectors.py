"""Embeddings that are kept smaller: their values, products and bounds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray

from tests.handlers.small import examples
from torchtowers.handlers import products
from torchtowers.handlers.errors import ArtifactError
from torchtowers.handlers.vectors import DTYPES, Vectors, quantized

# Products of the smallest numbers are below what any float holds.
FLOATS = st.floats(-100, 100, width=32).map(lambda value: value if abs(value) > 1e-15 else 0.0)


def embeddings(rows: int, dim: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal((rows, dim)).astype(np.float32)


@pytest.mark.parametrize("dtype", DTYPES)
def test_products_are_those_of_the_rows(dtype: str) -> None:
    # More rows than are made float32 at once.
    vectors = quantized(embeddings(9_000, 128), dtype)
    queries = embeddings(3, 128, seed=1)
    expected = queries.astype(np.float64) @ vectors.take(slice(None)).astype(np.float64).T
    np.testing.assert_allclose(vectors.scores(queries), expected, rtol=0, atol=1e-4)
    assert vectors.scores(queries).dtype == np.float32
    rows = np.array([8_999, 0, 5])
    assert np.array_equal(vectors.take(rows), vectors.take(slice(None))[rows])
    assert (len(vectors), vectors.dimension) == (9_000, 128)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("rows", "queries"), [(0, 2), (3, 0), (1, 1)])
def test_few_rows(dtype: str, rows: int, queries: int) -> None:
    vectors = quantized(embeddings(rows, 4), dtype)
    assert vectors.scores(embeddings(queries, 4)).shape == (queries, rows)


def test_every_float16_is_what_numpy_makes_of_it() -> None:
    halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    halves = halves[np.isfinite(halves)]
    products = Vectors(halves[:, None]).scores(np.ones((1, 1), np.float32))
    assert np.array_equal(products[0], halves.astype(np.float32))


@examples(100)
@given(npst.arrays(np.float32, (6, 5), elements=FLOATS))
def test_int8_is_off_by_half_a_scale(values: NDArray[np.float32]) -> None:
    vectors = quantized(values, "int8")
    assert vectors.scales is not None
    half = vectors.scales[:, None].astype(np.float64) / 2
    assert np.all(np.abs(vectors.take(slice(None)) - values.astype(np.float64)) <= half * 1.00001 + 1e-35)


@examples(200)
@given(npst.arrays(np.float32, (20, 5), elements=FLOATS), npst.arrays(np.float32, 5, elements=FLOATS))
def test_estimates_are_no_further_off_than_they_say(
    values: NDArray[np.float32], query: NDArray[np.float32]
) -> None:
    exact = values.astype(np.float64) @ query.astype(np.float64)
    for fewest in (0, 1 << 22):  # by torch, which makes the query int8, and by numpy
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(products, "_FEWEST_BYTES", fewest)
            vectors = quantized(values, "int8")
        (scores,), (length,) = vectors.estimates(query[None])
        assert np.all(np.abs(scores - exact) <= vectors.errors(length))


def test_errors_are_of_int8_alone() -> None:
    with pytest.raises(ValueError, match="errors are of int8 rows, these are float16"):
        quantized(embeddings(2, 2), "float16").errors(np.float32(1))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_refused(dtype: str, value: float) -> None:
    with pytest.raises(ArtifactError, match="not finite"):
        quantized(np.array([[1, value]], np.float32), dtype)


def test_what_is_beyond_float16_is_refused() -> None:
    with pytest.raises(ArtifactError, match=r"a value of 7e\+04, beyond float16: choose int8"):
        quantized(np.array([[1, -7e4]], np.float32), "float16")
