"""What a build that was killed has left beside its target: hidden parts that nobody holds any more."""

import fcntl
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["clear_leftovers", "held"]

# What `tempfile` puts behind a prefix.
_RANDOM = re.compile(r"[a-z0-9_]{8}")
# What a folder's part holds until it takes its name.
_INSIDE = {"new", "earlier"}


@contextmanager
def held(path: Path, *, wait: bool = True) -> Iterator[bool]:
    """Hold a file's or folder's lock, which the system lets go of when the process dies.

    Where the file system knows no locks, nothing is held by anybody, and so nothing can be cleared.

    Args:
        path: Has to exist.
        wait: Until another process lets go of it.

    Yields:
        Whether it is held.

    Raises:
        OSError: It can't be opened.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield _is_locked(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.close(descriptor)


def _is_locked(descriptor: int, how: int) -> bool:
    try:
        fcntl.flock(descriptor, how)
    except OSError:
        return False
    return True


def clear_leftovers(target: Path) -> None:
    """Remove the parts of earlier builds of a target that no build holds.

    Args:
        target: Parts are beside it, called `.NAME.` with eight characters behind. The caller holds its
            folder, so that no build is just about to hold its part.
    """
    prefix = f".{target.name}."
    for path in target.parent.iterdir():
        if not path.name.startswith(prefix) or not _RANDOM.fullmatch(path.name[len(prefix) :]):
            continue
        # One of another user's, or that is gone already, is nothing to fail for.
        with suppress(OSError), held(path, wait=False) as is_left:
            if not is_left:
                continue
            if not path.is_dir():
                path.unlink()
            elif _is_spare(path, target):
                shutil.rmtree(path)


def _is_spare(part: Path, target: Path) -> bool:
    """Tell whether a folder is a part, and holds no earlier archive that was to be put back."""
    inside = {path.name for path in part.iterdir()}
    return inside <= _INSIDE and ("earlier" not in inside or target.exists())
