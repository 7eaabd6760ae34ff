"""Reads a whole archive before a server does: every member is there, readable, and what its manifest says."""

import hashlib
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from torchtowers.handlers.errors import ArtifactError, shorten
from torchtowers.handlers.seal import (
    MANIFEST,
    MANIFEST_SIGNATURE,
    read_manifest,
    sealed_members,
    verify_members,
)

__all__ = ["require_intact"]

_CHUNK = 1 << 20
_UNREADABLE = (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, NotImplementedError)


def require_intact(path: Path) -> None:
    """Read all of an archive, and compare it with the hashes of its manifest where there are some.

    An archive of another tool has none: then it is enough that every member can be unpacked.

    Args:
        path: A `.mar`, a `.tar.gz` or a directory.

    Raises:
        ArtifactError: A member is damaged, altered, missing, there twice, or outside the archive; named.
    """
    if path.is_dir():
        verify_members(path)
        return
    hashes: dict[str, str] = {}
    manifest = b""
    try:
        for name, member in _members(path):
            _require_inside(path, name, hashes)
            hashes[name], content = _read(member, keep=name == MANIFEST)
            manifest = content or manifest
    except _UNREADABLE as error:
        raise ArtifactError(f"{path}: damaged ({shorten(str(error))}): build it again") from None
    except OSError as error:
        raise ArtifactError(f"{path}: can't be read ({error.strerror or shorten(str(error))})") from None
    sealed = sealed_members(read_manifest(manifest)) if manifest else None
    if not manifest:
        raise ArtifactError(f"{path}: {MANIFEST} is missing: build it again")
    if sealed is not None:
        _compare(path, hashes, sealed)


def _members(path: Path) -> Iterator[tuple[str, IO[bytes]]]:
    if path.name.endswith(".tar.gz"):
        with tarfile.open(path, "r:gz") as archive:
            for entry in archive:
                file = archive.extractfile(entry) if entry.isreg() else None
                if file is not None:
                    # TorchServe drops the first folder, whatever it is called.
                    yield entry.name.removeprefix("./").partition("/")[2], file
        return
    with zipfile.ZipFile(path) as zipped:
        for info in zipped.infolist():
            if not info.is_dir():
                with zipped.open(info) as file:
                    yield info.filename, file


def _require_inside(path: Path, name: str, seen: dict[str, str]) -> None:
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or ".." in parts or "\\" in name:
        raise ArtifactError(f"{path}: {shorten(name)} is outside the archive: don't use it")
    if name in seen:
        raise ArtifactError(f"{path}: {shorten(name)} is in it twice: build it again")


def _read(file: IO[bytes], *, keep: bool) -> tuple[str, bytes]:
    digest = hashlib.sha256()
    kept = b""
    while chunk := file.read(_CHUNK):
        digest.update(chunk)
        kept += chunk if keep else b""
    return digest.hexdigest(), kept


def _compare(path: Path, hashes: dict[str, str], sealed: dict[str, str]) -> None:
    for name, expected in sealed.items():
        if name not in hashes:
            raise ArtifactError(f"{path}: {name} is missing: build it again")
        if hashes[name] != expected:
            raise ArtifactError(f"{path}: {name} was altered: its sha256 is not the manifest's")
    added = hashes.keys() - sealed.keys() - {MANIFEST, MANIFEST_SIGNATURE}
    if added:
        raise ArtifactError(f"{path}: {min(added)} is not in {MANIFEST}: it was added after the build")
