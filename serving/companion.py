"""A process beside this one that outlives it, and takes up what it leaves when it is killed."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

__all__ = ["companion", "wait_for_the_end"]


@contextmanager
def companion(module: str, folder: Path, output: IO[bytes] | int = subprocess.DEVNULL) -> Iterator[None]:
    """Run `python -m MODULE FOLDER` beside the block; it is ended with the block.

    When this process ends inside of the block, whatever ended it, the other's `wait_for_the_end` comes back.

    Args:
        module: What it runs.
        folder: What it takes care of.
        output: Where it prints to.
    """
    beside = subprocess.Popen(
        [sys.executable, "-m", module, str(folder)],
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=output,
        # What the terminal sends is for this process alone.
        start_new_session=True,
    )
    try:
        yield
    finally:
        # Before its input ends: nothing is left to do.
        beside.kill()
        beside.wait()
        if beside.stdin is not None:
            beside.stdin.close()


def wait_for_the_end() -> None:
    """Wait until the process that holds our standard input open has ended."""
    sys.stdin.buffer.read()
