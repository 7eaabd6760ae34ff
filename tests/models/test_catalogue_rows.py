"""Rows of a catalogue, by number and by id."""

import pytest
import torch

from torchtowers.models.brute_force import BruteForce
from torchtowers.models.catalogue_rows import CatalogueRows

QUERIES = torch.ones(2, 1)
CANDIDATES = torch.tensor([[1.0], [3.0], [2.0]])


def test_found_ids_become_rows_and_short_answers_end_early() -> None:
    # -1 is an id here, and stands in the place beyond a short answer too.
    for ids in (["a", "b", "c"], [7, -1, 5], [("a", 1), None, 2.5]):
        found = BruteForce(CANDIDATES, ids).search(QUERIES, 3, exclude=[[], [ids[1], ids[2]]])
        assert CatalogueRows(3, ids).of(found).tolist() == [[1, 2, 0], [0, -1, -1]]


def test_the_catalogue_may_have_another_order_and_more_items_than_the_index() -> None:
    found = BruteForce(CANDIDATES, ["a", "b", "c"]).search(QUERIES[:1], 2)
    assert CatalogueRows(4, ["c", "x", "b", "a"]).of(found).tolist() == [[2, 0]]


def test_without_ids_the_numbers_of_an_index_are_rows() -> None:
    rows = CatalogueRows(3)
    assert rows.of(BruteForce(CANDIDATES).search(QUERIES[:1], 3, [[1]])).tolist() == [[2, 0, -1]]
    given = torch.tensor([[2, -1]])
    assert rows.of(given) is given
    assert rows.of(BruteForce(CANDIDATES[:0]).search(QUERIES, 3)).shape == (2, 0)


def test_the_callers_ids_stay_as_they_are() -> None:
    index = BruteForce(CANDIDATES, ["a", "b", "c"])
    rows = CatalogueRows(3, index.ids)
    index.remove(["a"])
    assert rows.of(index.search(QUERIES[:1], 1)).tolist() == [[1]]


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="3 items and 2 ids"):
        CatalogueRows(3, ["a", "b"])
    with pytest.raises(ValueError, match="share an id"):
        CatalogueRows(2, ["a", "a"])
    texts = BruteForce(CANDIDATES, ["a", "b", "c"]).search(QUERIES, 1)
    with pytest.raises(TypeError, match="'b' is no row of the catalogue: give its ids"):
        CatalogueRows(3).of(texts)
    with pytest.raises(TypeError, match="are numbers, got text such as 'b'"):
        CatalogueRows(3, [1, 2, 3]).of(texts)
    with pytest.raises(IndexError, match="item 'b' is not among 2 items"):
        CatalogueRows(2, ["a", "c"]).of(texts)
    for number in (3, -2):
        with pytest.raises(IndexError, match=f"item {number} is not among 3 items"):
            CatalogueRows(3).of(BruteForce(CANDIDATES, [0, number, 1]).search(QUERIES, 1))
    with pytest.raises(IndexError, match="item 3 is not among 3 items"):
        CatalogueRows(3).of(torch.tensor([[0, 3]]))
