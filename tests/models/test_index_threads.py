"""Searches in several threads at once, the first ones among them."""

import sys
from collections.abc import Callable, Iterator
from functools import partial
from threading import Barrier, Thread

import pytest
import torch

from torchtowers.models.brute_force import BruteForce
from torchtowers.models.faiss_index import Faiss
from torchtowers.models.index import TopK

THREADS = 6


@pytest.fixture(autouse=True)
def frequent_switches() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def at_once(search: Callable[[], TopK]) -> list[list[object]]:
    """Give what each of several threads finds for one query."""
    start, found = Barrier(THREADS), []

    def run() -> None:
        start.wait()
        found.append(search().ids[0].tolist())

    threads = [Thread(target=run) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == THREADS, "none failed"
    return found


def test_no_row_of_an_excluded_id_comes_back() -> None:
    rows = 20_000
    candidates = torch.randn(rows, 2, generator=torch.Generator().manual_seed(0))
    ids = [f"i{row % (rows // 2)}" for row in range(rows)]
    query = torch.ones(1, 2)
    best = BruteForce(candidates, ids).search(query, 1).ids[0].tolist()
    for _ in range(5):
        index = BruteForce(candidates, ids)
        for found in at_once(partial(index.search, query, 5, exclude=[best])):
            assert best[0] not in found


def test_included_candidates_are_found() -> None:
    candidates = torch.randn(50_000, 8, generator=torch.Generator().manual_seed(0))
    query, include = torch.ones(1, 8), [list(range(7, 50_000, 250))]
    expected = BruteForce(candidates).search(query, 5, include=include).ids[0].tolist()
    for _ in range(3):
        index = Faiss(candidates, lists=10)
        # So that only the lists' own first time remains.
        index.search(query, 5, exclude=[[1]])
        assert at_once(partial(index.search, query, 5, include=include)) == [expected] * THREADS


def test_an_index_is_saved_while_it_is_searched(tmp_path_factory: pytest.TempPathFactory) -> None:
    candidates = torch.randn(20_000, 8, generator=torch.Generator().manual_seed(0))
    index = Faiss(candidates, lists=10)
    query, include = torch.ones(1, 8), [list(range(7, 20_000, 250))]
    expected = BruteForce(candidates).search(query, 5, include=include).ids[0].tolist()

    def search() -> TopK:
        for _ in range(3):
            index.save(tmp_path_factory.mktemp("saved") / "index")
            found = index.search(query, 5, include=include)
        return found

    assert at_once(search) == [expected] * THREADS
