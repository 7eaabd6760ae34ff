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

__all__ = ["clear_drafts", "place", "plan", "remove", "require_sound"]

_DRAFT = ".deploying-"
_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]*")


def plan(file: Path, store: Path) -> tuple[Archive, bool]:
    """Tell what an archive is in the store: itself where it lies there already, else NAME-VERSION.

    Returns:
        The archive as it lies in the store, and whether it has yet to be put there.

    Raises:
        ServingError: It is no archive, or the store holds another one of the same name and version.
    """
    archive = read_archive(file)
    end = ".tar.gz" if file.name.endswith(".tar.gz") else ".mar"
    if file.is_dir() or not file.name.endswith(end):
        raise ServingError(f"{file}: expected a .mar or a .tar.gz; a directory can't be put in place at once")
    for value in (archive.name, archive.version):
        if not _SAFE.fullmatch(value):
            raise ServingError(f"{file}: {shorten(value)} can't be part of a file's name: build it again")
    if file.resolve().parent == store.resolve():
        return archive, False
    there = _same_version(store, archive)
    if there is None:
        return replace(archive, file=f"{archive.name}-{archive.version}{end}"), True
    if not (store / there.file).is_file() or sha256_of(store / there.file) != sha256_of(file):
        raise ServingError(
            f"{store / there.file} is another archive of {archive.name} {archive.version}: "
            "give the new one a version of its own"
        )
    return there, False


def place(file: Path, store: Path, archive: Archive) -> None:
    """Copy an archive and its `.sig` into the store; it has its name there when it was checked.

    What is checked are the copied bytes.

    Args:
        file: The archive.
        store: The model store.
        archive: What `plan` gave.

    Raises:
        ServingError: The store can't be written.
        ArtifactError: The archive is damaged, altered, or not signed by the key that the environment asks
            for.
    """
    with _draft(store) as folder:
        shutil.copyfile(file, folder / archive.file)
        signature = file.with_name(file.name + SUFFIX)
        if signature.exists():
            shutil.copyfile(signature, folder / (archive.file + SUFFIX))
        require_sound(archive, folder)
        for part in (archive.file + SUFFIX, archive.file):
            if (folder / part).exists():
                _move(folder / part, store)


def require_sound(archive: Archive, folder: Path) -> None:
    """Read an archive whole, and check its signature where the environment asks for one.

    Raises:
        ArtifactError: It is damaged, altered or not signed.
    """
    require_intact(folder / archive.file)
    require_signed(folder, [archive])


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
    folder: Path | None = None
    try:
        # In the store, so that a link is all it takes; a folder without a manifest is no archive there.
        folder = Path(tempfile.mkdtemp(prefix=_DRAFT, dir=store))
        yield folder
    except OSError as error:
        raise ServingError(
            f"{store}: the archive can't be put into the model store ({error.strerror})"
        ) from None
    finally:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def _same_version(store: Path, archive: Archive) -> Archive | None:
    for path in archives_of(store):
        try:
            other = read_archive(path)
        except ServingError:
            continue
        if (other.name, other.version) == (archive.name, archive.version):
            return other
    return None


def _move(draft: Path, store: Path) -> None:
    with draft.open("rb") as file:
        os.fsync(file.fileno())
    # A link, unlike a rename, never takes another file's place.
    os.link(draft, store / draft.name)
