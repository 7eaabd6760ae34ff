"""An index's files are checked wholly before they are trusted."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from torchtowers.models.brute_force import BruteForce
from torchtowers.models.faiss_index import Faiss


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    BruteForce(torch.arange(6.0).reshape(3, 2), ["a", "b", "c"]).save(tmp_path / "index")
    return tmp_path / "index"


def header(folder: Path, **fields: Any) -> None:
    path = folder / "index.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "no header": (lambda at: (at / "index.json").unlink(), "index.json can't be read"),
    "no json": (lambda at: (at / "index.json").write_text("{"), "index.json can't be read"),
    "not ours": (lambda at: (at / "index.json").write_text("[]"), "describes no index"),
    "version": (lambda at: header(at, version=2), "version 2 of the format"),
    "kind": (lambda at: header(at, kind="Faiss"), "holds a Faiss, not a BruteForce"),
    "more fields": (lambda at: header(at, more=1), "has to have the fields"),
    "a truth value": (lambda at: header(at, size=True), "can't have True as its size"),
    "below 0": (lambda at: header(at, size=-1), "can't have -1 as its size"),
    "another size": (lambda at: header(at, size=2), r"floats \[2, 2\], got float32 \[3, 2\]"),
    "cut": (
        lambda at: (at / "embeddings.npy").write_bytes((at / "embeddings.npy").read_bytes()[:-1]),
        "151 bytes, where its header asks for 152",
    ),
    "no array": (lambda at: (at / "embeddings.npy").write_bytes(b"no"), "embeddings.npy can't be read"),
    "integers": (lambda at: np.save(at / "embeddings.npy", np.ones((3, 2), np.int64)), "got int64"),
    "pickle": (
        lambda at: np.save(at / "embeddings.npy", np.array([[object()]]), allow_pickle=True),
        "with objects",
    ),
    "by columns": (
        lambda at: np.save(at / "embeddings.npy", np.asfortranarray(np.ones((3, 2), np.float32))),
        "in another order",
    ),
    "no ids": (lambda at: (at / "ids.json").unlink(), "one of ids.npy and ids.json"),
    "two ids": (lambda at: np.save(at / "ids.npy", np.arange(3)), "one of ids.npy and ids.json"),
    "fewer ids": (lambda at: (at / "ids.json").write_text('["a"]'), r"3 candidates, its ids are \[1\]"),
    "other ids": (lambda at: (at / "ids.json").write_text('["a", null, 1]'), "a list of texts and integers"),
}


@pytest.mark.parametrize("mmap", [True, False])
@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_found_and_named(folder: Path, damage: str, mmap: bool) -> None:
    done, message = DAMAGES[damage]
    assert len(BruteForce.load(folder, mmap=mmap)) == 3
    done(folder)
    with pytest.raises(ValueError, match=message):
        BruteForce.load(folder, mmap=mmap)


def test_float_ids_of_integers_are_refused(folder: Path) -> None:
    (folder / "ids.json").unlink()
    np.save(folder / "ids.npy", np.arange(3.0))
    with pytest.raises(ValueError, match="has to be int64, got float64"):
        BruteForce.load(folder)


def test_damaged_lists_are_found_and_named(tmp_path: Path) -> None:
    Faiss(torch.randn(500, 4)).save(tmp_path / "index")
    Faiss(torch.randn(400, 4)).save(tmp_path / "other")
    lists = tmp_path / "index" / "lists.faiss"
    whole = lists.read_bytes()
    lists.write_bytes(whole[: len(whole) // 2])
    for mmap in (True, False):
        with pytest.raises(ValueError, match=r"lists\.faiss can't be read"):
            Faiss.load(tmp_path / "index", mmap=mmap)
    lists.write_bytes((tmp_path / "other" / "lists.faiss").read_bytes())
    with pytest.raises(ValueError, match=r"\(400, 4, 10\), its description says \(500, 4, 12\)"):
        Faiss.load(tmp_path / "index")
    # Each row is 8 bytes in the file, and so are some sizes; another row in the place of the last makes two.
    at = whole.rindex(np.int64(499).tobytes())
    lists.write_bytes(whole[:at] + np.int64(498).tobytes() + whole[at + 8 :])
    with pytest.raises(ValueError, match="does not have each of its 500 rows once"):
        Faiss.load(tmp_path / "index")
    lists.write_bytes(whole)
    header(tmp_path / "index", probes=0)
    with pytest.raises(ValueError, match="has numbers that can't be"):
        Faiss.load(tmp_path / "index")


def test_lists_without_vectors_are_refused(tmp_path: Path) -> None:
    """faiss writes mapped lists as a reference, and would end the process at the first search."""
    faiss = pytest.importorskip("faiss")
    Faiss(torch.randn(500, 4)).save(tmp_path / "index")
    lists = str(tmp_path / "index" / "lists.faiss")
    faiss.write_index(faiss.read_index(lists, faiss.IO_FLAG_MMAP), lists)
    with pytest.raises(ValueError, match="refers to vectors in another file: save the index anew"):
        Faiss.load(tmp_path / "index")
    with pytest.raises(ValueError, match=r"lists\.faiss can't be read"):
        Faiss.load(tmp_path / "index", mmap=False)


@pytest.mark.parametrize(("umask", "mode"), [(0o077, 0o700), (0o027, 0o750), (0o002, 0o775)])
def test_the_umask_says_who_may_read(umask: int, mode: int, tmp_path: Path) -> None:
    before = os.umask(umask)
    try:
        Faiss(torch.eye(2)).save(tmp_path / "index")
    finally:
        os.umask(before)
    assert (tmp_path / "index").stat().st_mode & 0o777 == mode
    for path in (tmp_path / "index").iterdir():
        assert path.stat().st_mode & 0o777 == mode & 0o666


def test_nothing_is_left_after_a_mistake_and_nothing_written_over(folder: Path) -> None:
    with pytest.raises(FileExistsError, match="is there already"):
        BruteForce(torch.ones(1, 1)).save(folder)
    assert len(BruteForce.load(folder)) == 3
    with pytest.raises(TypeError, match=r"texts or integers, got \('x', 1\) \(tuple\)"):
        BruteForce(torch.ones(1, 1), [("x", 1)]).save(folder.parent / "new")
    with pytest.raises(TypeError, match=r"bfloat16 can't be saved"):
        BruteForce(torch.ones(1, 1, dtype=torch.bfloat16)).save(folder.parent / "new")
    assert [path.name for path in folder.parent.iterdir()] == ["index"]


def test_an_index_without_candidates_can_be_saved(tmp_path: Path) -> None:
    BruteForce(torch.empty(0, 3)).save(tmp_path / "a" / "index")
    index = BruteForce.load(tmp_path / "a" / "index")
    index.add(torch.ones(1, 3), [4])
    assert index.search(torch.ones(1, 3), 2).pairs() == [[(4, 3.0)]]
