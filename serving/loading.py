"""Waits for a version that was registered with a running server, and finds out soon when it won't come up."""

import time

from torchtowers.serving.errors import ServerStartError
from torchtowers.serving.logs import LogReader, last_error
from torchtowers.serving.management import Management

__all__ = ["wait_until_loaded"]

_PAUSE = 0.1


def wait_until_loaded(
    management: Management, reader: LogReader, name: str, version: str, *, timeout: float
) -> None:
    """Wait until every worker of a version is ready.

    Args:
        management: The server's.
        reader: Of the server's logs, from before the version was registered.
        name: The model.
        version: The version.
        timeout: Seconds to wait at most.

    Raises:
        ServerStartError: A worker died, carries its own last error line; or the time is over.
    """
    deadline = time.monotonic() + timeout
    seen: set[str] = set()
    while time.monotonic() < deadline:
        for model in management.versions(name):
            if model.version == version:
                seen |= {worker.id for worker in model.workers}
                if model.ready and model.workers:
                    return
        dead = reader.dead_worker(seen)
        if dead:
            raise ServerStartError(
                f"{name} {version}: its worker died: {last_error(dead, reader)}; its log is {reader.model}"
            )
        time.sleep(_PAUSE)
    raise ServerStartError(
        f"{name} {version}: not ready after {timeout:g} s: allow more time, or see {reader.model}"
    )
