"""A TorchServe of our own beside the one that runs: other ports, another state folder, other archives."""

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from torchtowers.handlers.seal import PUBLIC_KEY
from torchtowers.serving.companion import companion, wait_for_the_end
from torchtowers.serving.errors import ServerNotRunningError
from torchtowers.serving.ports import free_ports
from torchtowers.serving.process import deferred_interrupt
from torchtowers.serving.properties import read_properties
from torchtowers.serving.server import Server, start, stop

__all__ = ["private_server"]


@contextmanager
def private_server(folder: Path, *, config: Path, models: str, timeout: float) -> Iterator[Server]:
    """Run a server for the block; it is gone afterwards, whatever happened.

    When this process is killed in the block, another one ends the server and removes `folder`.
    Archives need no signature here: they are copies that the caller made of one that it has checked.

    Args:
        folder: Has the model store, `store`, and gets all that the server writes.
        config: The `config.properties` whose settings it has, but for its addresses.
        models: What it serves, as for `start`.
        timeout: Seconds until the workers have to be ready.

    Raises:
        ServingError: It can't be started.
        ServerStartError: TorchServe or a worker did not come up.
    """
    own = folder / "config.properties"
    own.write_text(_with_own_addresses(config), encoding="utf-8")
    state = _state_of(folder)
    with _without(PUBLIC_KEY), companion(__name__, folder):
        server = start(folder / "store", models=models, config=own, state=state, timeout=timeout)
        try:
            yield server
        finally:
            with deferred_interrupt():
                _stop(folder)


def main() -> None:
    """Wait until the process that runs the server has ended, and clear up what it left."""
    wait_for_the_end()
    folder = Path(sys.argv[1])
    _stop(folder)
    shutil.rmtree(folder, ignore_errors=True)


def _state_of(folder: Path) -> Path:
    return folder / "state"


def _stop(folder: Path) -> None:
    # Nobody waits for an answer any more that a polite end would save.
    with suppress(ServerNotRunningError):
        stop(_state_of(folder), timeout=0)


def _with_own_addresses(config: Path) -> str:
    """Give a configuration's text with other addresses; of a key that comes twice, the last counts."""
    read_properties(config)
    rest = ("inference", "management", "metrics")
    grpc = ("inference", "management")
    ports = iter(free_ports(len(rest) + len(grpc)))
    return "\n".join(
        [
            config.read_text(encoding="utf-8"),
            *(f"{name}_address=http://127.0.0.1:{next(ports)}" for name in rest),
            *(f"grpc_{name}_address=127.0.0.1\ngrpc_{name}_port={next(ports)}" for name in grpc),
            "enable_grpc_ssl=false",
            "",
        ]
    )


@contextmanager
def _without(name: str) -> Iterator[None]:
    """Take a variable out of the environment, which workers inherit, for the block."""
    value = os.environ.pop(name, None)
    try:
        yield
    finally:
        if value is not None:
            os.environ[name] = value


if __name__ == "__main__":
    main()
