"""Candidates that are added, removed and updated, in both indexes that can change, against a dictionary."""

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from torchtowers.models.brute_force import BruteForce
from torchtowers.models.faiss_index import Faiss

Changing = BruteForce | Faiss


def made(kind: type[Changing], candidates: Tensor, ids: list[Any]) -> Changing:
    # All lists are read, so that the answers are exact.
    return Faiss(candidates, ids, lists=2, probes=2) if kind is Faiss else BruteForce(candidates, ids)


def assert_holds(index: Changing, truth: dict[Any, list[float]]) -> None:
    """Scores tell each candidate apart, so that sorted answers are the whole content."""
    query = torch.tensor([[1.0, 0.5], [-1.0, 3.0]])
    assert len(index) == len(truth)
    assert sorted(index.ids.tolist()) == sorted(truth)
    for position, pairs in enumerate(index.search(query, len(truth) + 1).pairs()):
        scores = {name: float(torch.tensor(row) @ query[position]) for name, row in truth.items()}
        assert dict(pairs) == pytest.approx(scores)
        assert [score for _, score in pairs] == sorted((score for _, score in pairs), reverse=True)


names = st.integers(0, 12)
rows = st.tuples(st.integers(-50, 50), st.integers(-50, 50)).map(
    lambda pair: [float(value) for value in pair]
)
changes = st.lists(
    st.tuples(st.sampled_from(["add", "remove", "update"]), st.dictionaries(names, rows, max_size=5)),
    max_size=8,
)


@pytest.mark.parametrize("kind", [BruteForce, Faiss])
@settings(deadline=None)
@given(st.dictionaries(names, rows, min_size=2), changes, st.booleans())
def test_changes_are_those_of_a_dictionary(
    kind: type[Changing], first: dict[int, list[float]], steps: list[tuple[str, Any]], look: bool
) -> None:
    given_rows = torch.tensor(list(first.values()))
    before = given_rows.clone()
    index, truth = made(kind, given_rows, list(first)), dict(first)
    for action, values in steps:
        if action == "add":
            own = {name: row for name, row in values.items() if name not in truth}
            index.add(torch.tensor(list(own.values())).reshape(-1, 2), list(own))
            truth |= own
        elif action == "update":
            own = {name: row for name, row in values.items() if name in truth}
            index.update(torch.tensor(list(own.values())).reshape(-1, 2), list(own))
            truth |= own
        else:
            gone = [name for name in values if name in truth]
            index.remove(gone)
            for name in gone:
                del truth[name]
        if look:
            assert_holds(index, truth)
    assert_holds(index, truth)
    assert torch.equal(given_rows, before), "the caller's candidates are not written to"


@pytest.mark.parametrize("kind", [BruteForce, Faiss])
def test_mistakes_are_named_and_change_nothing(kind: type[Changing]) -> None:
    index = made(kind, torch.tensor([[1.0, 2.0], [3.0, 4.0]]), ["a", "b"])
    row = torch.ones(1, 2)
    with pytest.raises(ValueError, match="'a' are in the index already: update them"):
        index.add(row, ["a"])
    with pytest.raises(ValueError, match="'c' are not in the index: add them"):
        index.update(row, ["c"])
    with pytest.raises(ValueError, match="'c' are not in the index"):
        index.remove(["c"])
    with pytest.raises(ValueError, match="1 candidates and 2 ids"):
        index.add(row, ["c", "d"])
    with pytest.raises(ValueError, match=r"\[rows, 2\], got \[1, 3\]"):
        index.update(torch.ones(1, 3), ["a"])
    assert_holds(index, {"a": [1.0, 2.0], "b": [3.0, 4.0]})


@pytest.mark.parametrize("kind", [BruteForce, Faiss])
@pytest.mark.parametrize("ids", [[3, -7, 2**62], ["ä", "", 'q"\n'], ["7", 7, 2**80]])
@pytest.mark.parametrize("mmap", [True, False])
def test_saved_and_loaded_it_is_the_same(
    kind: type[Changing], ids: list[Any], mmap: bool, tmp_path: Path
) -> None:
    candidates = torch.tensor([[1.0, 2.0], [3.0, 4.0], [0.0, -1.0]])
    index = made(kind, candidates, ids)
    index.save(tmp_path / "index")
    files = {path.name: path.read_bytes() for path in (tmp_path / "index").iterdir()}
    loaded = kind.load(tmp_path / "index", mmap=mmap)
    queries = torch.tensor([[1.0, 0.5]])
    found, expected = loaded.search(queries, 3, [[ids[1]]]), index.search(queries, 3, [[ids[1]]])
    assert found.pairs() == expected.pairs()
    assert loaded.ids.dtype == index.ids.dtype
    assert [type(name) for name in loaded.ids.tolist()] == [type(name) for name in ids]
    # Changes stay in memory: neither the files nor another reader of them see any.
    other = kind.load(tmp_path / "index", mmap=mmap)
    loaded.update(torch.tensor([[9.0, 9.0]]), [ids[0]])
    loaded.remove([ids[1]])
    loaded.add(torch.tensor([[5.0, 5.0]]), [11])
    assert dict(loaded.search(queries, 4).pairs()[0]) == {ids[0]: 13.5, ids[2]: -0.5, 11: 7.5}
    assert other.search(queries, 3, [[ids[1]]]).pairs() == expected.pairs()
    assert {path.name: path.read_bytes() for path in (tmp_path / "index").iterdir()} == files


def test_mapped_candidates_are_pages_of_the_file(tmp_path: Path) -> None:
    candidates = torch.randn(100_000, 16)
    BruteForce(candidates).save(tmp_path / "exact")
    Faiss(candidates[:5000]).save(tmp_path / "lists")
    exact, lists = BruteForce.load(tmp_path / "exact"), Faiss.load(tmp_path / "lists")
    query = torch.ones(1, 16)
    assert exact.search(query, 5).pairs() == BruteForce(candidates).search(query, 5).pairs()
    assert lists.search(query, 5).scores.isfinite().all()
    maps = Path("/proc/self/smaps").read_text()
    for path in (tmp_path / "exact" / "embeddings.npy", tmp_path / "lists" / "lists.faiss"):
        (entry,) = [part for part in maps.split("VmFlags") if str(path) in part]
        fields = dict(line.split(":", 1) for line in entry.splitlines() if line.endswith(" kB"))
        assert int(fields["Rss"].split()[0]) > 0
        assert int(fields["Anonymous"].split()[0]) == 0, "no page is a copy as long as none is written"
    exact.update(torch.zeros(1, 16), [0])
    (entry,) = [
        part for part in Path("/proc/self/smaps").read_text().split("VmFlags") if "embeddings.npy" in part
    ]
    assert "Anonymous:             4 kB" in entry, "the one page that is written is copied"
