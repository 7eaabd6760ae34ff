"""A process beside a rollout that takes it back when the rollout's own process is killed."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from torchtowers.serving.companion import companion, wait_for_the_end
from torchtowers.serving.errors import ServingError
from torchtowers.serving.process import find
from torchtowers.serving.recovery import recover
from torchtowers.serving.server import management_of
from torchtowers.serving.state import StateFolder

__all__ = ["guarded"]


@contextmanager
def guarded(folder: StateFolder) -> Iterator[None]:
    """Have what this process leaves undone in the block taken up by another, even when it is killed."""
    with (folder.logs / "rollout.log").open("ab") as log, companion(__name__, folder.path, log):
        yield


def main() -> None:
    """Wait until the rollout's process has ended, and take up what it left."""
    wait_for_the_end()
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
