"""A process beside a rollout that takes it back when the rollout's own process is killed."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from torchtowers.serving.errors import ServingError
from torchtowers.serving.process import find
from torchtowers.serving.recovery import recover
from torchtowers.serving.server import management_of
from torchtowers.serving.state import StateFolder

__all__ = ["guarded"]


@contextmanager
def guarded(folder: StateFolder) -> Iterator[None]:
    """Have what this process leaves undone in the block taken up by another, even when it is killed."""
    with (folder.logs / "rollout.log").open("ab") as log:
        guard = subprocess.Popen(
            [sys.executable, "-m", __name__, str(folder.path)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            # A Ctrl-C of the terminal is for the rollout alone.
            start_new_session=True,
        )
    try:
        yield
    finally:
        if guard.stdin is not None:
            guard.stdin.close()
        # Nothing is left to do: the lock that it would wait for is ours.
        guard.kill()
        guard.wait()


def main() -> None:
    """Wait until the process that holds our standard input open has ended, and take up what it left."""
    sys.stdin.buffer.read()
    folder = StateFolder(sys.argv[1])
    with folder.lock("deploy", wait=True):
        record = folder.read()
        if record is None or find(record.pid, record.create_time) is None:
            return
        with management_of(folder, record) as management:
            recover(folder, management)


if __name__ == "__main__":
    try:
        main()
    except ServingError as error:
        print(error, file=sys.stderr)
        sys.exit(1)
