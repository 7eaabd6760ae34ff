"""Arrays of an artifact are checked before they are trusted."""

import io
from pathlib import Path

import numpy as np
import pytest

from torchtowers.handlers.arrays import map_array, save_array
from torchtowers.handlers.errors import ArtifactError


def npy(array: object) -> bytes:
    file = io.BytesIO()
    np.save(file, np.asarray(array), allow_pickle=True)
    return file.getvalue()


def npz() -> bytes:
    file = io.BytesIO()
    np.savez(file, a=np.zeros(3, np.int64))
    return file.getvalue()


@pytest.mark.parametrize("array", [np.arange(3), np.empty(0, np.int64)], ids=["filled", "empty"])
def test_comes_back_read_only(tmp_path: Path, array: np.ndarray[tuple[int], np.dtype[np.int64]]) -> None:
    save_array(tmp_path, "index/rows.npy", array)
    mapped = map_array(tmp_path, "index/rows.npy", np.int64)
    assert mapped.tolist() == array.tolist()
    assert not mapped.flags.writeable
    assert type(mapped) is np.ndarray


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "can't be read"),
        (b"no array", "can't be read"),
        (npz(), "can't be read"),
        (npy([1, 2])[:-1], "can't be read"),
        (npy([1, 2])[:40], "can't be read"),
        (npy([{}]), "can't be read"),  # a pickle
        (npy([1.0]), "expected 1 dimensions of int64, got 1 of float64"),
        (npy([[1]]), "expected 1 dimensions of int64, got 2 of int64"),
        (npy(np.array([1], ">i8")), "expected 1 dimensions of int64, got 1 of >i8"),
        (npy([1]).replace(b"(1,)", b"(10000000000000,)"), "can't be read"),
        (npy([1]).replace(b"'shape'", b"'shaqe'"), "can't be read"),
    ],
)
def test_refuses_what_is_no_such_array(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "rows.npy").write_bytes(content)
    with pytest.raises(ArtifactError, match=message) as caught:
        map_array(tmp_path, "rows.npy", np.int64)
    assert str(caught.value).startswith(f"rows.npy in {tmp_path.name}")
    assert "\n" not in str(caught.value)


def test_refuses_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"rows.npy in .* can't be read"):
        map_array(tmp_path, "rows.npy", np.int64)
