"""Files that are whole or not there: checksums, writing beside and renaming, a lock between processes."""

import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from torchtowers.data.errors import ChecksumError, DataError
from torchtowers.handlers.signature import sha256_of

__all__ = ["FULL", "check_sha256", "disk_errors", "locked", "sha256_if_there", "write_whole"]

# EFBIG: a limit on the size of a file, as `ulimit -f` sets it, is met.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def sha256_if_there(path: Path) -> str | None:
    """Give the hex sha256 of a file's bytes, or None where there is no such file."""
    try:
        return sha256_of(path)
    except FileNotFoundError:
        return None


def check_sha256(path: Path, expected: str, origin: str) -> None:
    """Remove a file that is not the expected one, and say so.

    Raises:
        ChecksumError: Its sha256 is another; the file is gone.
    """
    found = sha256_if_there(path)
    if found != expected:
        path.unlink(missing_ok=True)
        raise ChecksumError(
            f"{path.name} from {origin}: sha256 {expected} expected, {found} found; the file is removed"
        )


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that its name holds either all of the content or what it held before.

    The bytes go to `.NAME.new` beside it, reach the disk, and only then take the name. One writer at a
    time: hold the folder's lock.
    """
    beside = path.with_name(f".{path.name}.new")
    try:
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError:
        beside.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def locked(path: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold a lock against other processes; the kernel lets go of it when its holder dies.

    The lock file stays: taking it away would let a third process lock a new one beside a waiting second.

    Args:
        path: The lock file; made where it is missing.
        waiting: Called once where another process holds the lock, before waiting for it.
    """
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Turn what the disk under a folder refuses into one line for a person.

    Raises:
        DataError: In place of an OSError.
    """
    try:
        yield
    except BrokenPipeError:
        # Not the disk: whoever read the log lines has gone.
        raise
    except OSError as error:
        if error.errno in FULL:
            raise DataError(
                f"{folder}: no space left to write ({error.strerror}); free 20 MB there, or set "
                "XDG_CACHE_HOME to a folder on another disk, and run it again"
            ) from error
        reason = error.strerror or str(error)
        raise DataError(
            f"{error.filename or folder}: can't be used ({reason}); make it writable, or set XDG_CACHE_HOME "
            "to a folder that is"
        ) from error
