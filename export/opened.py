"""An archive opened to be looked at, whoever built it; nothing is unpacked."""

import os
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from io import FileIO
from pathlib import Path
from typing import IO

from torchtowers.handlers.errors import ArtifactError

__all__ = ["MOST_UNPACKED", "Entry", "OpenArchive", "open_archive"]

# TorchServe unpacks what comes, of any size, into its temporary directory.
MOST_UNPACKED = 64 << 30
_MOST_READ = 64 << 20
_CHUNK = 1 << 20

_UNREADABLE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    OSError,
    ValueError,
)


@dataclass(frozen=True)
class Entry:
    """A member as the archive lists it.

    Args:
        name: As it stands there; of a tar.gz without its first folder, as TorchServe takes it.
        size: Bytes that it claims to unpack to.
        packed: Bytes in the archive.
        form: `file`, `folder`, or what else it is, such as `link`.
        opener: Opens its content.
    """

    name: str
    size: int
    packed: int
    form: str
    opener: Callable[[], IO[bytes]] = field(repr=False, compare=False)

    def chunks(self) -> Iterator[bytes]:
        """Give the content in pieces, never more than the size that it claims.

        Raises:
            ArtifactError: It is damaged, or shorter or longer than it claims.
        """
        left = self.size
        try:
            with self.opener() as file:
                while left and (chunk := file.read(min(_CHUNK, left))):
                    left -= len(chunk)
                    yield chunk
                # Reads past the end, where a zip file's checksum is compared.
                more = file.read(1)
        except _UNREADABLE as error:
            raise ArtifactError(f"{self.name} is damaged: {error or type(error).__name__}") from error
        if left or more:
            raise ArtifactError(f"{self.name} is damaged: it is not of the {self.size} bytes that it claims")

    def read(self, most: int = _MOST_READ) -> bytes:
        """Give the content.

        Raises:
            ArtifactError: It is damaged, or larger than `most` bytes.
        """
        if self.size > most:
            raise ArtifactError(f"{self.name} is of {self.size:,} bytes: at most {most:,} are read")
        return b"".join(self.chunks())

    def head(self, count: int) -> bytes:
        """Give the first bytes; they may be fewer.

        Raises:
            ArtifactError: It is damaged.
        """
        try:
            with self.opener() as file:
                return file.read(min(count, self.size))
        except _UNREADABLE as error:
            raise ArtifactError(f"{self.name} is damaged: {error or type(error).__name__}") from error

    def sha256(self) -> str:
        """Hash the content; memory stays small for any size.

        Raises:
            ArtifactError: It is damaged.
        """
        digest = sha256()
        for chunk in self.chunks():
            digest.update(chunk)
        return digest.hexdigest()


@dataclass(frozen=True)
class OpenArchive:
    """An archive's members, in the order in which they lie there.

    Args:
        path: The file, or the directory.
        form: `zip`, `tgz` or `folder`.
        entries: All of them; a name may come twice.
    """

    path: Path
    form: str
    entries: tuple[Entry, ...]

    @property
    def files(self) -> dict[str, Entry]:
        """The members that are files, by name; of two with one name the last, as TorchServe does."""
        return {entry.name: entry for entry in self.entries if entry.form == "file"}


@contextmanager
def open_archive(path: str | Path) -> Iterator[OpenArchive]:
    """Open an archive to be looked at.

    Raises:
        ArtifactError: It can't be read, or is none.
    """
    path = Path(path)
    with ExitStack() as stack:
        try:
            if path.is_dir():
                opened = OpenArchive(path, "folder", tuple(_folder(path)))
            elif path.name.endswith((".tar.gz", ".tgz")):
                archive = stack.enter_context(tarfile.open(path, "r:gz"))
                opened = OpenArchive(path, "tgz", tuple(_tar(archive)))
            else:
                zipped = stack.enter_context(zipfile.ZipFile(path))
                opened = OpenArchive(path, "zip", tuple(_zip(zipped)))
        except FileNotFoundError as error:
            raise ArtifactError(f"{path}: no such archive") from error
        except _UNREADABLE as error:
            raise ArtifactError(f"{path} can't be read as an archive: {error}; build it again") from error
        yield opened


def _zip(archive: zipfile.ZipFile) -> Iterator[Entry]:
    for info in archive.infolist():
        mode = info.external_attr >> 16
        form = "folder" if info.is_dir() else "file"
        if stat.S_ISLNK(mode):
            form = "link"
        elif stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
            form = "special file"
        # orig_filename: zipfile cuts a name at a NUL, and the server doesn't.
        name = info.orig_filename
        yield Entry(name, info.file_size, info.compress_size, form, partial(archive.open, info))


def _tar(archive: tarfile.TarFile) -> Iterator[Entry]:
    unpacked = 0
    for info in archive:
        # Passing over a member unpacks it.
        unpacked += info.size
        if unpacked > MOST_UNPACKED:
            raise tarfile.TarError(f"it unpacks to more than {MOST_UNPACKED >> 30} GiB")
        form = "file" if info.isreg() else "folder" if info.isdir() else "special file"
        if info.issym() or info.islnk():
            form = "link"
        root, slash, name = info.name.removeprefix("./").partition("/")
        if slash or form != "folder":
            shown = name if slash and root not in ("", "..") else info.name
            yield Entry(shown, info.size, info.size, form, partial(_extracted, archive, info))


def _extracted(archive: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    file = archive.extractfile(info)
    if file is None:
        raise tarfile.TarError("it has no content")
    return file


def _folder(folder: Path) -> Iterator[Entry]:
    for parent, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted([*files, *(name for name in folders if (Path(parent) / name).is_symlink())]):
            path = Path(parent) / name
            status = path.lstat()
            form = "file" if stat.S_ISREG(status.st_mode) else "special file"
            if stat.S_ISLNK(status.st_mode):
                form = "link"
            relative = path.relative_to(folder).as_posix()
            yield Entry(relative, status.st_size, status.st_size, form, partial(FileIO, path))
