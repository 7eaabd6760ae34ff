"""Arrays of an artifact are checked before they are trusted."""

import io
from pathlib import Path

import numpy as np
import pytest

from torchtowers.handlers.arrays import ArrayWriter, map_array, save_array
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


@pytest.mark.parametrize("shape", [(0,), (7,), (0, 3), (12_345, 2), (4, 2, 3)])
@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.uint8])
def test_blocks_give_the_bytes_of_the_whole(
    tmp_path: Path, shape: tuple[int, ...], dtype: type[np.generic]
) -> None:
    array = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    with ArrayWriter(tmp_path, "new/blocks.npy", dtype, shape[1:]) as writer:
        for block in np.array_split(array, 3):
            writer.append(block)
    assert len(writer) == len(array)
    assert (tmp_path / "new/blocks.npy").read_bytes() == npy(array)
    save_array(tmp_path, "whole.npy", np.asfortranarray(array))
    assert (tmp_path / "whole.npy").read_bytes() == npy(array)


def test_rows_of_another_shape_are_refused_and_what_failed_is_no_array(tmp_path: Path) -> None:
    rows = [np.ones((1, width), np.float32) for width in (3, 2)]
    with (
        pytest.raises(ValueError, match=r"expected rows of the shape \(3,\), got \(2,\)"),
        ArrayWriter(tmp_path, "rows.npy", np.float32, (3,)) as writer,
    ):
        list(map(writer.append, rows))
    assert len(map_array(tmp_path, "rows.npy", np.float32, dimensions=2)) == 0
