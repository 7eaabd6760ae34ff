"""The forms of an archive, each written beside its name and put in place whole."""

import filecmp
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from threading import Event, Thread
from typing import IO

from torchtowers.export.errors import ExportError
from torchtowers.export.leftovers import clear_leftovers, held
from torchtowers.export.members import Member, Moment
from torchtowers.export.stored_tar import write_tar
from torchtowers.export.stored_zip import write_zip

__all__ = ["FORMATS", "replaced_file", "write_archive"]

_PAUSE = 0.1

# torch-model-archiver's names, with the ends of the files' names.
FORMATS = {"default": ".mar", "zip-store": ".mar", "tgz": ".tar.gz", "no-archive": ""}


def write_archive(target: Path, members: Mapping[str, Member], moment: Moment, *, force: bool) -> None:
    """Write members in the form that the target's name asks for.

    Args:
        target: Ends in one of `FORMATS`.
        members: By name in the archive.
        moment: The time of each; UTC.
        force: Replace what is there with other content.

    Raises:
        ArtifactError: A source can't be read or is not what its sha256 says.
        ExportError: Other content is in the way, or the disk refuses; nothing half-written is left.
    """
    if target.name.endswith(".mar") or target.name.endswith(".tar.gz"):
        with replaced_file(target, force=force) as file:
            if target.name.endswith(".mar"):
                write_zip(file, members, moment)
            else:
                write_tar(file, members, moment, target.name.removesuffix(".tar.gz"))
    else:
        _write_folder(target, members, force=force)


def _write_folder(target: Path, members: Mapping[str, Member], *, force: bool) -> None:
    # Only here, as the package that it is in loads much.
    from torchtowers.data.folders import is_empty_folder, replaced_folder

    try:
        if target.exists() and not is_empty_folder(target) and not force and not _holds(target, members):
            raise _in_the_way(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        # The lock outlives the part, which loses its name last.
        with ExitStack() as lock, ExitStack() as stack:
            with held(target.parent):
                clear_leftovers(target)
                part = stack.enter_context(replaced_folder(target))
                lock.enter_context(held(part.parent))
            for name, member in sorted(members.items()):
                path = part / name
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("wb") as file:
                    file.writelines(member.chunks(name))
                path.chmod(0o644)
            for path in (part, *part.rglob("*")):
                if path.is_dir():
                    path.chmod(0o755)
            # Two builds are not to exchange the same folder at once.
            lock.enter_context(held(target.parent))
    except OSError as error:
        raise _refused(target, error) from error


def _holds(folder: Path, members: Mapping[str, Member]) -> bool:
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    return files == members.keys() and all(
        Member.of(folder / name).sha256 == member.sha256 for name, member in members.items()
    )


@contextmanager
def replaced_file(target: Path, *, force: bool = True) -> Iterator[IO[bytes]]:
    """Give a file beside the target, which takes its name when all went well and is removed otherwise.

    Raises:
        ExportError: The target has other content and is not to be replaced, or the disk refuses.
    """
    part: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with ExitStack() as lock:
            with held(target.parent):
                clear_leftovers(target)
                file = tempfile.NamedTemporaryFile(  # noqa: SIM115 - closed below
                    dir=target.parent, prefix=f".{target.name}.", delete=False
                )
                part = Path(file.name)
                lock.enter_context(held(part))
            with file, _written_back(file):
                yield file
            if target.exists() and not force and not filecmp.cmp(target, part, shallow=False):
                raise _in_the_way(target)
            # The same rights under any umask, as an archive is read by the server's user.
            part.chmod(0o644)
            part.replace(target)
            part = None
    except OSError as error:
        raise _refused(target, error) from error
    finally:
        if part is not None:
            part.unlink(missing_ok=True)


@contextmanager
def _written_back(file: IO[bytes]) -> Iterator[None]:
    """Bring a file to the disk while it is written, so that little is left to wait for at the end."""
    done = Event()

    def write_back() -> None:
        while not done.wait(_PAUSE):
            with suppress(OSError):  # told by the last one
                os.fdatasync(file.fileno())

    beside = Thread(target=write_back, daemon=True)
    beside.start()
    try:
        yield
    finally:
        done.set()
        beside.join()
    file.flush()
    os.fsync(file.fileno())


def _in_the_way(target: Path) -> ExportError:
    return ExportError(
        f"{target} exists with other content: replace it with --force, or choose another --name"
    )


def _refused(target: Path, error: OSError) -> ExportError:
    return ExportError(f"{target} can't be written: {error.strerror or error}; nothing is left of it")
