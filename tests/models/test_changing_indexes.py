"""Candidates that are added, removed and updated, in both indexes that can change, against a dictionary."""

import copy
import pickle
import shutil
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


@pytest.mark.parametrize("kind", [BruteForce, Faiss])
def test_mapped_it_can_be_saved_and_copied(kind: type[Changing], tmp_path: Path) -> None:
    truth = {"a": [1.0, 2.0], "b": [3.0, 4.0], "c": [0.0, -1.0]}
    made(kind, torch.tensor(list(truth.values())), list(truth)).save(tmp_path / "first")
    mapped = kind.load(tmp_path / "first")
    mapped.save(tmp_path / "second")
    copies = [copy.deepcopy(mapped), pickle.loads(pickle.dumps(mapped))]
    assert_holds(mapped, truth)
    shutil.rmtree(tmp_path / "first")
    for mmap in (True, False):
        index = kind.load(tmp_path / "second", mmap=mmap)
        assert_holds(index, truth)
        copies.append(index)
    for index in copies:
        index.remove(["a"])
        index.add(torch.tensor([[7.0, 7.0]]), ["d"])
        assert_holds(index, {"b": truth["b"], "c": truth["c"], "d": [7.0, 7.0]})
        assert index.search(torch.ones(1, 2), 2, include=[["d", "b"]]).pairs() == [[("d", 14.0), ("b", 7.0)]]


@pytest.mark.parametrize("kind", [BruteForce, Faiss])
@pytest.mark.parametrize("change", ["made", "loaded", "add", "remove", "update"])
def test_after_inference_mode_it_can_still_be_changed(
    kind: type[Changing], change: str, tmp_path: Path
) -> None:
    truth = {name: [float(name), 1.0] for name in range(5)}
    made(kind, torch.tensor(list(truth.values())), list(truth)).save(tmp_path / "index")
    row = [9.0, -9.0]
    with torch.inference_mode():
        index = kind.load(tmp_path / "index", mmap=False)
        if change != "loaded":
            index = made(kind, torch.tensor(list(truth.values())), list(truth))
        if change == "add":
            index.add(torch.tensor([row]), [5])
            truth[5] = row
        elif change == "remove":
            index.remove([0])
            del truth[0]
        elif change == "update":
            index.update(torch.tensor([row]), [1])
            truth[1] = row
    index.update(torch.tensor([[7.0, 3.0]]), [2])
    index.remove([3])
    index.add(torch.tensor([[6.0, 3.0], [5.0, 3.0]]), [6, 7])
    del truth[3]
    assert_holds(index, truth | {2: [7.0, 3.0], 6: [6.0, 3.0], 7: [5.0, 3.0]})


@pytest.mark.parametrize("kind", [BruteForce, Faiss])
def test_an_error_leaves_it_as_it_was(kind: type[Changing]) -> None:
    truth = {"a": [1.0, 2.0], "b": [3.0, 4.0]}
    index = made(kind, torch.tensor(list(truth.values())), list(truth))
    for change, name in ((index.add, "c"), (index.update, "a")):
        with pytest.raises(NotImplementedError, match="meta tensor"):
            change(torch.ones(1, 2, device="meta"), [name])
        assert_holds(index, truth)
    index.add(torch.ones(1, 2), ["c"])
    assert_holds(index, truth | {"c": [1.0, 1.0]})


def test_an_error_of_faiss_leaves_it_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    truth = {"a": [1.0, 2.0], "b": [3.0, 4.0]}
    index = Faiss(torch.tensor(list(truth.values())), list(truth), lists=2, probes=2)

    def fail(*_: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(index._file, "add", fail)
        patch.setattr(index._file, "remove", fail)
        with pytest.raises(MemoryError):
            index.add(torch.ones(1, 2), ["c"])
        with pytest.raises(MemoryError):
            index.remove(["a"])
    assert_holds(index, truth)


def test_mapped_candidates_are_pages_of_the_file(tmp_path: Path) -> None:
    candidates = torch.randn(100_000, 16)
    BruteForce(candidates).save(tmp_path / "exact")
    Faiss(candidates[:5000]).save(tmp_path / "lists")
    exact, lists = BruteForce.load(tmp_path / "exact"), Faiss.load(tmp_path / "lists")
    query = torch.ones(1, 16)
    assert exact.search(query, 5).pairs() == BruteForce(candidates).search(query, 5).pairs()
    assert lists.search(query, 5).scores.isfinite().all()
    lists.save(tmp_path / "more")
    maps = Path("/proc/self/smaps").read_text()
    for path in (tmp_path / "exact" / "embeddings.npy", tmp_path / "lists" / "lists.faiss"):
        (entry,) = [part for part in maps.split("VmFlags") if str(path) in part]
        fields = dict(line.split(":", 1) for line in entry.splitlines() if line.endswith(" kB"))
        assert int(fields["Rss"].split()[0]) > 0
        assert int(fields["Anonymous"].split()[0]) == 0, "no page is a copy as long as none is written"
    exact.update(torch.zeros(1, 16), [0])
    (entry,) = [
        part
        for part in Path("/proc/self/smaps").read_text().split("VmFlags")
        if str(tmp_path / "exact" / "embeddings.npy") in part
    ]
    assert "Anonymous:             4 kB" in entry, "the one page that is written is copied"
