"""The index over batches answers as the one in memory, however the batches are cut."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tests.models.test_brute_force import inclusions, searches
from torchtowers.models.brute_force import BruteForce
from torchtowers.models.index import ExactIndex
from torchtowers.models.streaming import Streaming


@given(searches(), st.lists(st.integers(0, 12)), st.data())
def test_streaming_equals_brute_force_for_any_batches(
    case: tuple[Tensor, list[Any], Tensor, int, list[list[Any]]], cuts: list[int], data: st.DataObject
) -> None:
    candidates, ids, queries, k, exclude = case
    edges = sorted({0, len(ids)} | {min(cut, len(ids)) for cut in cuts})
    parts = [slice(first, last) for first, last in pairwise(edges)]
    index = Streaming([(ids[part], candidates[part]) for part in parts])
    whole = BruteForce(candidates, ids)
    include = data.draw(inclusions(ids, len(queries)))
    for lists in ((exclude, include), (exclude, None), (None, None)):
        found, expected = index.search(queries, k, *lists), whole.search(queries, k, *lists)
        assert found.pairs() == expected.pairs()
        assert found.scores.tolist() == expected.scores.tolist()
        assert found.ids.tolist() == expected.ids.tolist()


def test_rows_are_numbered_through_the_batches() -> None:
    index = Streaming([(None, torch.tensor([[1.0], [5.0]])), (None, torch.tensor([[3.0]]))])
    assert index.search(torch.ones(1, 1), 3).ids.tolist() == [[1, 2, 0]]


def test_a_function_starts_anew_at_each_search() -> None:
    read = []

    def batches() -> Iterator[tuple[list[str], Tensor]]:
        read.append(1)
        yield ["a", "b"], torch.tensor([[1.0], [2.0]])
        yield [], torch.empty(0, 1)

    index = Streaming(batches)
    for _ in range(2):
        assert index.search(torch.ones(1, 1), 1).pairs() == [[("b", 2.0)]]
    assert len(read) == 2


def test_ids_are_found_among_those_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    # So that a hundred rows are several blocks, and ids are forgotten after each.
    monkeypatch.setattr("torchtowers.models.streaming._ROWS_AT_ONCE", 7)
    monkeypatch.setattr("torchtowers.models.streaming._IDS_KEPT", 0)
    candidates = torch.randn(100, 3, generator=torch.Generator().manual_seed(0))
    names = [f"item {row}" for row in range(100)]
    index = Streaming([([name], row[None]) for name, row in zip(names, candidates, strict=True)])
    queries, exclude = candidates[:9], [names[position : position + 50] for position in range(9)]
    found, expected = (
        index.search(queries, 5, exclude),
        BruteForce(candidates, names).search(queries, 5, exclude),
    )
    assert found.ids.tolist() == expected.ids.tolist()
    torch.testing.assert_close(found.scores, expected.scores)


def test_types_are_put_together_as_they_come() -> None:
    parts = [torch.randn(9000, 4).bfloat16(), torch.randn(9000, 4), torch.randn(9000, 4).double()]
    queries = torch.randn(300, 4).half()
    for count, dtype in ((1, torch.float32), (2, torch.float32), (3, torch.float64)):
        found = Streaming(parts[:count]).search(queries, 7)
        exact = (queries.double() @ torch.cat([part.double() for part in parts[:count]]).T).topk(7)
        assert found.scores.dtype == dtype
        assert found.ids.tolist() == exact.indices.tolist()
        torch.testing.assert_close(found.scores.double(), exact.values, rtol=1e-5, atol=1e-5)


def test_batches_of_another_width_are_refused() -> None:
    index = Streaming([torch.ones(2, 3), torch.ones(1, 2)])
    with pytest.raises(ValueError, match=r"have to be \[rows, 3\] as the first, got \[1, 2\]"):
        index.search(torch.ones(1, 3), 1)


def test_an_iterator_is_refused() -> None:
    with pytest.raises(TypeError, match="a generator, which can be read only once"):
        Streaming((None, torch.ones(1, 1)) for _ in range(3))


def test_no_batches_give_empty_answers() -> None:
    assert Streaming([]).search(torch.ones(2, 1), 3, [["a"], []]).pairs() == [[], []]


def test_embeddings_alone_are_numbered() -> None:
    """TFRS's datasets of candidates give them so."""
    rows = torch.tensor([[1.0], [5.0], [3.0]])
    index = Streaming([rows[:2], rows[2:]])
    assert index.search(torch.ones(1, 1), 3, [[2]]).pairs() == [[(1, 5.0), (0, 1.0)]]
    with pytest.raises(TypeError, match=r"one tensor \[3, 1\]: use BruteForce"):
        Streaming(rows)


@pytest.mark.parametrize(
    ("batch", "what"),
    [
        ([[1.0]], "list of list"),
        ((torch.ones(1, 1), ["a"]), "tuple of Tensor, list"),
        ((["a"], torch.ones(1, 1), 3), "tuple of list, Tensor, int"),
        ((), "tuple of nothing"),
        ("ab", "str"),
    ],
)
def test_a_batch_of_another_form_is_refused(batch: Any, what: str) -> None:
    with pytest.raises(TypeError, match=f"or a pair of ids and embeddings, got a {what}$"):
        Streaming([batch]).search(torch.ones(1, 1), 1)


def test_ids_of_another_kind_than_all_in_the_stream_are_refused() -> None:
    texts: list[Any] = [(["1", "2"], torch.ones(2, 1)), (["3"], torch.ones(1, 1))]
    query = torch.ones(1, 1)
    for lists in ([[1]], None), (None, [[1]]):
        with pytest.raises(TypeError, match="are text, got numbers such as 1"):
            Streaming(texts).search(query, 1, *lists)
    with pytest.raises(TypeError, match="are numbers, got text such as 'a'"):
        Streaming([query]).search(query, 1, [["a"]])
    mixed = Streaming([*texts, ([7], torch.ones(1, 1))])
    assert mixed.search(query, 4, [[7]]).ids[0, :3].tolist() == ["1", "2", "3"]


def test_what_does_not_fit_is_refused() -> None:
    query = torch.ones(1, 2)
    with pytest.raises(ValueError, match="3 candidates and 2 ids"):
        Streaming([(["a", "b"], torch.ones(3, 2))]).search(query, 1)
    with pytest.raises(ValueError, match=r"\[queries, 3\], got \[1, 2\]"):
        Streaming([(None, torch.ones(3, 3))]).search(query, 1)
    with pytest.raises(ValueError, match=r"\[candidates, dim\], got \[3\]"):
        Streaming([(None, torch.ones(3))]).search(query, 1)
    with pytest.raises(ValueError, match="at least 1, got 0"):
        Streaming([]).search(query, 0)


def test_it_is_exact_and_can_be_read_through() -> None:
    index = Streaming([(["a"], torch.ones(1, 1)), (["b"], torch.zeros(1, 1))])
    assert isinstance(index, ExactIndex)
    assert [(ids.tolist(), rows.tolist()) for ids, rows in index.blocks()] == [
        (["a"], [[1.0]]),
        (["b"], [[0.0]]),
    ]
