"""Products by torch and by numpy are the same, and what can't be trusted is not used."""

import sys
from typing import Any

import numpy as np
import pytest
import torch

from torchtowers.handlers import products
from torchtowers.handlers.index import ExactIndex
from torchtowers.handlers.products import Rows
from torchtowers.handlers.token_table import TokenTable
from torchtowers.handlers.vectors import Vectors, quantized


@pytest.fixture
def by_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of small rows, too."""
    monkeypatch.setattr(products, "_FEWEST_BYTES", 0)


def drawn(count: int, dim: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32)


@pytest.mark.usefixtures("by_torch")
@pytest.mark.parametrize("batch", [1, 3])
def test_float32_rows(batch: int) -> None:
    values, queries = drawn(1000, 16), drawn(batch, 16, 1)
    values.flags.writeable = False
    np.testing.assert_allclose(Rows(values).products(queries), queries @ values.T, rtol=0, atol=1e-5)


@pytest.mark.usefixtures("by_torch")
@pytest.mark.parametrize(("count", "dim"), [(1, 1), (7, 5), (1000, 64), (200_000, 64), (333, 130)])
def test_int8_rows_are_exact(count: int, dim: int) -> None:
    random = np.random.default_rng(0)
    values = random.integers(-127, 128, (count, dim), dtype=np.int8)
    rows = Rows(values)
    query = random.integers(-127, 128, dim, dtype=np.int8)
    if rows.multiplies_int8:  # else it is not asked for
        assert np.array_equal(rows.int8_products(query), values.astype(np.int32) @ query.astype(np.int32))


@pytest.mark.usefixtures("by_torch")
@pytest.mark.parametrize("fault", ["zeros", "overflow", "refuses", "is missing"])
def test_int8_is_not_trusted_where_it_is_not_exact(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def faulty(rows: Any, query: Any) -> Any:
        if fault == "refuses":
            raise RuntimeError("not for this processor")
        exact = rows.int() @ query.int()
        return exact.clamp(-(1 << 15), (1 << 15) - 1) if fault == "overflow" else torch.zeros_like(exact)

    if fault == "is missing":
        monkeypatch.delattr(torch, "_int_mm")
    else:
        monkeypatch.setattr(torch, "_int_mm", faulty)
    embeddings = drawn(500, 16)
    vectors = quantized(embeddings, "int8")
    assert not Rows(vectors.values).multiplies_int8
    index = ExactIndex(vectors, TokenTable.of(map(str, range(500))), rescoring=embeddings)
    query = drawn(1, 16, 1)
    ((rows, _),) = index.search(query, [20], [np.empty(0, np.int64)])
    assert rows.tolist() == np.argsort(-(embeddings @ query[0]))[:20].tolist()


@pytest.mark.usefixtures("by_torch")
def test_int8_rescored_gives_what_float32_gives() -> None:
    embeddings = drawn(20_000, 32)
    table = TokenTable.of(map(str, range(20_000)))
    exact = ExactIndex(Vectors(embeddings), table)
    smaller = ExactIndex(quantized(embeddings, "int8"), table, rescoring=embeddings)
    queries, nothing = drawn(8, 32, 1), [np.empty(0, np.int64)] * 8
    for (rows, scores), (found, others) in zip(
        exact.search(queries, [100] * 8, nothing), smaller.search(queries, [100] * 8, nothing), strict=True
    ):
        np.testing.assert_allclose(scores, others, rtol=0, atol=1e-5)
        assert set(rows.tolist()) == set(found.tolist())


def test_torch_is_not_imported_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "_FEWEST_BYTES", 0)
    monkeypatch.delitem(sys.modules, "torch")
    rows = Rows(np.ones((2, 2), np.float32))
    assert rows.products(np.ones((1, 2), np.float32)).tolist() == [[2, 2]]
    assert not rows.multiplies_int8
    assert "torch" not in sys.modules
