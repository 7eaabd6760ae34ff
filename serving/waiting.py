"""Waits for a server that was just started, and finds out soon when it won't come up."""

import time
from collections.abc import Callable, Sequence

import psutil

from torchtowers.serving.archives import Archive
from torchtowers.serving.errors import ServerStartError, ServingError
from torchtowers.serving.logs import LogReader, last_error
from torchtowers.serving.management import Management, Model
from torchtowers.serving.process import alive

__all__ = ["wait_until_ready"]

_PAUSE = 0.1


def wait_until_ready(
    process: psutil.Process,
    management: Management,
    archives: Sequence[Archive],
    reader: LogReader,
    *,
    timeout: float,
    progress: Callable[[str], None],
) -> tuple[Model, ...]:
    """Wait until every worker of every archive answers requests.

    Raises:
        ServerStartError: The server or a worker died, an archive was refused, or the time is over.
    """
    began = time.monotonic()
    said: set[str] = set()
    models: tuple[Model, ...] = ()
    while time.monotonic() - began < timeout:
        _raise_if_failed(process, archives, reader)
        try:
            models = management.models()
        except ServingError:
            # It does not listen yet, or is not done with what it read at its start.
            time.sleep(_PAUSE)
            continue
        ready = {f"{model.name} {model.version}" for model in models if model.ready}
        for name in sorted(ready - said):
            progress(f"{name} is ready after {time.monotonic() - began:.1f} s")
        said |= ready
        if ready >= {f"{archive.name} {archive.version}" for archive in archives}:
            return models
        time.sleep(_PAUSE)
    waiting = [str(archive) for archive in archives if f"{archive.name} {archive.version}" not in said]
    raise ServerStartError(
        f"{', '.join(waiting)}: not ready after {timeout:g} s: allow more time, or see {reader.model} "
        f"and {reader.server}"
    )


def _raise_if_failed(process: psutil.Process, archives: Sequence[Archive], reader: LogReader) -> None:
    if not alive(process):
        reason = reader.first_complaint() or "it printed nothing"
        raise ServerStartError(f"TorchServe ended at its start: {reason}; its output is in {reader.console}")
    refused = reader.refused_archive()
    if refused:
        raise ServerStartError(f"TorchServe refuses {refused[0]}: {refused[1]}; its log is {reader.server}")
    worker = reader.dead_worker()
    if worker:
        named = [archive for archive in archives if reader.runs(worker, archive.name, archive.version)]
        model = " or ".join(map(str, named)) or worker
        raise ServerStartError(
            f"{model}: its worker died: {last_error(worker, reader)}; its log is {reader.model}"
        )
