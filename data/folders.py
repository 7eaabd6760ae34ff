"""Folders that take their name only when they are complete."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["is_empty_folder", "replaced_folder"]


@contextmanager
def replaced_folder(target: Path) -> Iterator[Path]:
    """Give a new folder that takes the target's name when the block ends well; an earlier one goes then.

    Whatever fails or interrupts the block, or the exchange, leaves the earlier folder as it was.

    Args:
        target: The name. A link goes on pointing at its folder.

    Raises:
        OSError: The disk refuses.
    """
    # Resolved, so that `.` has a name to move to as well.
    target = target.resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(
        dir=target.parent, prefix=f".{target.name}.", ignore_cleanup_errors=True
    ) as beside:
        # A folder of its own, since a temporary one is closed to all other users.
        part, aside = Path(beside) / "new", Path(beside) / "earlier"
        part.mkdir()
        yield part
        try:
            if target.exists():
                target.rename(aside)
            part.rename(target)
        except BaseException:
            if aside.exists() and not target.exists():
                aside.rename(target)
            raise


def is_empty_folder(path: Path) -> bool:
    """Tell whether there is a folder with nothing in it."""
    return path.is_dir() and not any(path.iterdir())
