"""Brings a checked archive into a model store: whole under its own name, or not at all."""

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from torchtowers.handlers.errors import shorten
from torchtowers.handlers.signature import sha256_of
from torchtowers.handlers.signing import SUFFIX
from torchtowers.serving.archives import Archive, archives_of, read_archive
from torchtowers.serving.errors import ServingError
from torchtowers.serving.integrity import require_intact
from torchtowers.serving.trust import require_signed

__all__ = ["clear_drafts", "place", "remove"]

_DRAFT = ".deploying-"
_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]*")


def place(file: Path, store: Path) -> tuple[Archive, bool]:
    """Copy an archive and its `.sig` into the store as NAME-VERSION, checked before it has that name.

    What is checked are the copied bytes. One that lies in the store already stays where it is.

    Returns:
        The archive as it lies in the store, and whether it was put there.

    Raises:
        ServingError: It is no archive, the store holds another one of the same name and version, or can't be
            written.
        ArtifactError: It is damaged, altered, or not signed by the key that the environment asks for.
    """
    archive = read_archive(file)
    end = ".tar.gz" if file.name.endswith(".tar.gz") else ".mar"
    if file.is_dir() or not file.name.endswith(end):
        raise ServingError(f"{file}: expected a .mar or a .tar.gz; a directory can't be put in place at once")
    for value in (archive.name, archive.version):
        if not _SAFE.fullmatch(value):
            raise ServingError(f"{file}: {shorten(value)} can't be part of a file's name: build it again")
    if file.resolve().parent == store.resolve():
        _check(archive, store)
        return archive, False
    with _draft(store) as folder:
        copied = replace(archive, file=f"{archive.name}-{archive.version}{end}")
        shutil.copyfile(file, folder / copied.file)
        signature = file.with_name(file.name + SUFFIX)
        if signature.exists():
            shutil.copyfile(signature, folder / (copied.file + SUFFIX))
        _check(copied, folder)
        there = _same_version(store, copied)
        if there is not None:
            if sha256_of(store / there.file) == sha256_of(folder / copied.file):
                return there, False
            raise ServingError(
                f"{store / there.file} is another archive of {archive.name} {archive.version}: "
                "give the new one a version of its own"
            )
        _move(folder, store, copied.file)
    return copied, True


def remove(archive: str, store: Path) -> None:
    """Remove what `place` put into the store."""
    for name in (archive, archive + SUFFIX):
        (store / name).unlink(missing_ok=True)


def clear_drafts(store: Path) -> None:
    """Remove what a killed `place` has left."""
    for folder in store.glob(f"{_DRAFT}*"):
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _draft(store: Path) -> Iterator[Path]:
    try:
        # In the store, so that a rename is all it takes; a folder without a manifest is no archive there.
        folder = Path(tempfile.mkdtemp(prefix=_DRAFT, dir=store))
    except OSError as error:
        raise ServingError(
            f"{store}: the archive can't be put into the model store ({error.strerror})"
        ) from None
    try:
        yield folder
    except OSError as error:
        raise ServingError(
            f"{store}: the archive can't be put into the model store ({error.strerror})"
        ) from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _check(archive: Archive, folder: Path) -> None:
    require_intact(folder / archive.file)
    require_signed(folder, [archive])


def _same_version(store: Path, archive: Archive) -> Archive | None:
    for path in archives_of(store):
        try:
            other = read_archive(path)
        except ServingError:
            continue
        if (other.name, other.version) == (archive.name, archive.version):
            return other
    return None


def _move(folder: Path, store: Path, name: str) -> None:
    for part in (name + SUFFIX, name):
        draft = folder / part
        if draft.exists():
            with draft.open("rb") as file:
                os.fsync(file.fileno())
            # A link, unlike a rename, never takes another file's place.
            os.link(draft, store / part)
