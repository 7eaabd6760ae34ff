"""An index's files: arrays and ids without pickle, checked wholly before they are trusted."""

import json
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from torchtowers.models.index import id_array

__all__ = ["IndexFiles", "new_folder"]

_VERSION = 1


class IndexFiles:
    """The files of one index.

    `index.json` says which index it is and how large. Ids are `ids.npy` (int64) where all are integers,
    otherwise `ids.json`, a list of texts and integers. Everything else is an array of its own.

    Args:
        folder: Where they are.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save_array(self, name: str, values: Tensor) -> None:
        """Write an array.

        Raises:
            TypeError: NumPy has no such type.
        """
        if values.dtype not in (torch.float16, torch.float32, torch.float64):
            raise TypeError(f"an index of {values.dtype} can't be saved: make it from candidates.float()")
        np.save(self.folder / f"{name}.npy", values.cpu().numpy(), allow_pickle=False)

    def save_ids(self, ids: NDArray[Any]) -> None:
        """Write ids.

        Raises:
            TypeError: An id is neither text nor an integer.
        """
        if ids.dtype == np.int64:
            np.save(self.folder / "ids.npy", ids, allow_pickle=False)
            return
        names = ids.tolist()
        for name in names:
            if type(name) not in (str, int):
                raise TypeError(
                    f"ids that are saved have to be texts or integers, got {name!r} ({type(name).__name__}): "
                    "make the index with such ids"
                )
        (self.folder / "ids.json").write_text(json.dumps(names), encoding="utf-8")

    def save_header(self, kind: str, fields: Mapping[str, object]) -> None:
        """Write which index it is, and what its reader has to know."""
        header = {"format": "torchtowers.index", "version": _VERSION, "kind": kind, **fields}
        (self.folder / "index.json").write_text(json.dumps(header, indent=2) + "\n", encoding="utf-8")

    def load_header(self, kind: str, fields: Mapping[str, type]) -> dict[str, Any]:
        """Read what `save_header` wrote: exactly these fields, numbers not below 0.

        Raises:
            ValueError: The file is missing or malformed, of another version or kind.
        """
        header = self._json("index.json")
        if not isinstance(header, dict) or header.get("format") != "torchtowers.index":
            raise ValueError(f"{self.folder / 'index.json'} describes no index of torchtowers")
        if header.get("version") != _VERSION:
            raise ValueError(
                f"{self.folder} has version {header.get('version')!r} of the format, this torchtowers reads "
                f"{_VERSION}: save the index anew"
            )
        if header.get("kind") != kind:
            raise ValueError(
                f"{self.folder} holds a {header.get('kind')}, not a {kind}: load it with that class"
            )
        values = {name: value for name, value in header.items() if name not in ("format", "version", "kind")}
        if values.keys() != fields.keys():
            raise ValueError(
                f"{self.folder / 'index.json'} has to have the fields {sorted(fields)}, got {sorted(values)}"
            )
        for name, value in values.items():
            if type(value) is not fields[name] or not isinstance(value, int | float) or not value >= 0:
                raise ValueError(f"{self.folder / 'index.json'} can't have {value!r} as its {name}")
        return values

    def load_array(self, name: str, shape: tuple[int, ...], *, mmap: bool) -> Tensor:
        """Read an array of floats, as a private mapping if asked for.

        Raises:
            ValueError: The file is missing or malformed, or its shape or type is another one.
        """
        array = self._numpy(f"{name}.npy", mmap=mmap)
        if array.shape != shape or array.dtype not in (np.float16, np.float32, np.float64):
            got = f"{array.dtype} {list(array.shape)}"
            raise ValueError(f"{self.folder / name}.npy has to be floats {list(shape)}, got {got}")
        # A tensor made in inference mode could not be written to outside.
        with torch.inference_mode(False):
            return torch.from_numpy(array)

    def load_ids(self, size: int) -> NDArray[Any]:
        """Read the ids.

        Raises:
            ValueError: Not exactly one of the two files is there, or it is malformed or of another size.
        """
        numbers, names = (self.folder / name for name in ("ids.npy", "ids.json"))
        if numbers.exists() == names.exists():
            raise ValueError(f"{self.folder} has to have one of ids.npy and ids.json")
        if numbers.exists():
            ids = self._numpy("ids.npy", mmap=False)
            if ids.dtype != np.int64:
                raise ValueError(f"{numbers} has to be int64, got {ids.dtype}")
        else:
            values = self._json("ids.json")
            if not isinstance(values, list) or any(type(value) not in (str, int) for value in values):
                raise ValueError(f"{names} has to be a list of texts and integers")
            ids = id_array(values)
        if ids.shape != (size,):
            raise ValueError(
                f"{self.folder} says that it has {size} candidates, its ids are {list(ids.shape)}"
            )
        return ids

    def _json(self, name: str) -> object:
        try:
            return json.loads((self.folder / name).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise ValueError(f"{self.folder / name} can't be read: {error}") from error

    def _numpy(self, name: str, *, mmap: bool) -> NDArray[Any]:
        path = self.folder / name
        try:
            with path.open("rb") as file:
                version = np.lib.format.read_magic(file)
                if version != (1, 0):
                    raise ValueError(f"version {version} of .npy")
                shape, in_columns, dtype = np.lib.format.read_array_header_1_0(file)
                start = file.tell()
            expected = start + dtype.itemsize * int(np.prod(shape, dtype=object))
            if in_columns or dtype.hasobject or not dtype.isnative:
                raise ValueError(f"an array of {dtype} in another order or with objects")
            if path.stat().st_size != expected:
                raise ValueError(f"{path.stat().st_size} bytes, where its header asks for {expected}")
            # An empty file can't be mapped.
            array: NDArray[Any] = np.load(path, mmap_mode="c" if mmap and 0 not in shape else None)
        except (OSError, ValueError) as error:
            raise ValueError(f"{path} can't be read: {error}") from error
        return array


@contextmanager
def new_folder(folder: Path) -> Iterator[IndexFiles]:
    """Give a folder beside to write to, which gets its name when all is written, or goes after an error.

    Raises:
        FileExistsError: The folder is there already.
    """
    if folder.exists():
        raise FileExistsError(f"{folder} is there already: save to another folder, or remove it first")
    folder.parent.mkdir(parents=True, exist_ok=True)
    # What mkdtemp makes is of use to no other account, whatever the umask says.
    beside = folder.parent / f".{folder.name}.{secrets.token_hex(8)}"
    beside.mkdir()
    try:
        yield IndexFiles(beside)
        beside.rename(folder)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise
