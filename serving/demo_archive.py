"""Takes from an archive of the model store what a page needs to know of its model; never the model itself."""

import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from torchtowers.handlers.combined_signature import AnySignature, CombinedSignature, read_signature
from torchtowers.handlers.errors import ArtifactError, shorten
from torchtowers.handlers.signature import FILE_NAME, SIDE, Signature, sha256_of
from torchtowers.serving.errors import ServingError

__all__ = ["column_stems", "described_files", "unpack"]


def unpack(archive: Path, folder: Path) -> tuple[AnySignature, Path]:
    """Give an archive's signature, and the folder with the files that describe its model.

    Args:
        archive: A `.mar`, a `.tar.gz`, or a directory, which is read where it is.
        folder: Where files are unpacked to; empty.

    Raises:
        ServingError: It can't be read, or is no archive of ours.
        ArtifactError: A file is missing or altered, or the signature is malformed.
    """
    if archive.is_dir():
        signature = _signature_of(archive, archive)
        found = archive
    else:
        _extract(archive, folder, {FILE_NAME})
        signature = _signature_of(archive, folder)
        _extract(archive, folder, described_files(signature))
        found = folder
    for name in sorted(described_files(signature)):
        if not (found / name).is_file():
            raise ArtifactError(f"{name} is missing from {archive.name}; build it again")
        if sha256_of(found / name) != signature.files.get(name):
            raise ArtifactError(f"{name} in {archive.name} was altered: its sha256 is not the signature's")
    return signature, found


def described_files(signature: AnySignature) -> frozenset[str]:
    """Name the files with users, their features and histories, items, their features and columns.

    A fused archive keeps the users inside of the model, so that it has items' ids and columns only.
    """
    if isinstance(signature, CombinedSignature):
        return described_files(signature.retrieval) | described_files(signature.ranking)
    models = {file for files in signature.towers.values() for file in files.values()}
    models.update(signature.fused.values())
    others = {name + SIDE for name in models} | {signature.samples}
    if signature.index is not None:
        others.update(signature.index.arrays())
    return signature.used_files() - models - others


def column_stems(signature: Signature) -> Mapping[str, str]:
    """Give the stem of each item column's texts, by the column's name."""
    return {name: column.text for name, column in signature.columns.items()}


def _signature_of(archive: Path, folder: Path) -> AnySignature:
    if not (folder / FILE_NAME).is_file():
        raise ServingError(
            f"{archive.name} holds no {FILE_NAME}: only models of `torchtowers archive build` can be shown"
        )
    return read_signature(folder)


def _extract(archive: Path, folder: Path, names: set[str] | frozenset[str]) -> None:
    """Write the named members below `folder`; the names have been checked to stay inside of it."""
    with _reading(archive) as members:
        for name, member in members:
            if name in names:
                target = folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                with target.open("wb") as file:
                    while block := member.read(1 << 20):
                        file.write(block)


@contextmanager
def _reading(archive: Path) -> Iterator[Iterator[tuple[str, IO[bytes]]]]:
    try:
        if archive.name.endswith(".tar.gz"):
            with tarfile.open(archive, "r:gz") as tar:
                yield _tar_members(tar)
        else:
            with zipfile.ZipFile(archive) as zipped:
                yield _zip_members(zipped)
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, OSError) as error:
        raise ServingError(f"{archive}: can't be read ({shorten(str(error))}): build it again") from None


def _zip_members(zipped: zipfile.ZipFile) -> Iterator[tuple[str, IO[bytes]]]:
    members: Mapping[str, zipfile.ZipInfo] = {info.filename: info for info in zipped.infolist()}
    for name, info in members.items():
        if not info.is_dir():
            with zipped.open(info) as member:
                yield name, member


def _tar_members(tar: tarfile.TarFile) -> Iterator[tuple[str, IO[bytes]]]:
    for info in tar:
        member = tar.extractfile(info) if info.isreg() else None
        if member is not None:
            # Below one folder, whatever it is called.
            yield info.name.removeprefix("./").partition("/")[2], member
