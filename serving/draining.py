"""Waits until a version has answered all it was asked: what it still holds when it goes is never answered."""

import time

import psutil

from torchtowers.serving.errors import ServingError
from torchtowers.serving.management import Management, Model, Worker

__all__ = ["drain"]

_PAUSE = 0.1
# A request that was given its version before the default changed is in the queue long before that.
_QUIET = 1.0
# A worker that has answered waits for its next request this soon.
_SETTLED = 0.02


def drain(management: Management, name: str, version: str, *, timeout: float) -> bool:
    """Wait until a version's queue is empty, nobody asks for it, and every worker is done with its batch.

    The server tells how many requests wait, and not which are being answered. So each worker is asked a
    question of its own, which it answers after its batch; who answered shows in how often its process
    has waited for something.

    Args:
        management: The server's.
        name: The model.
        version: A version that is not the default.
        timeout: Seconds to wait at most.

    Returns:
        Whether it came to rest; also where the server doesn't know it.
    """
    deadline = time.monotonic() + timeout
    while True:
        if _is_quiet(management, name, version) and _all_done(management, name, version, deadline):
            return True
        if time.monotonic() >= deadline:
            return False


def _is_quiet(management: Management, name: str, version: str) -> bool:
    """Watch for a while; tell whether nothing waited and no worker did anything."""
    until = time.monotonic() + _QUIET
    before = _steps(_workers(management, name, version))
    while time.monotonic() < until:
        model = _find(management, name, version)
        if model is None:
            return True
        if model.waiting:
            time.sleep(_PAUSE)
            return False
        time.sleep(_PAUSE)
    return _steps(_workers(management, name, version)) == before


def _all_done(management: Management, name: str, version: str, deadline: float) -> bool:
    """Ask until every worker has answered; False as soon as something else happens meanwhile."""
    waiting = {worker.pid for worker in _workers(management, name, version)}
    while waiting:
        left = deadline - time.monotonic()
        before = _steps(_workers(management, name, version))
        if left <= 0:
            return False
        try:
            management.probe(name, version, timeout=left)
        except ServingError:
            return False
        answered = _who_moved(before)
        if len(answered) != 1:
            return False
        waiting -= answered
        waiting &= {worker.pid for worker in _workers(management, name, version)}
    return True


def _who_moved(before: dict[int, int]) -> set[int]:
    """Give the workers that have waited for something since; the one that answered does so right away."""
    until = time.monotonic() + _PAUSE
    while time.monotonic() < until and not _changed(before):
        time.sleep(_SETTLED)
    time.sleep(_SETTLED)
    return _changed(before)


def _changed(before: dict[int, int]) -> set[int]:
    return {pid for pid, steps in before.items() if _steps_of(pid) != steps}


def _find(management: Management, name: str, version: str) -> Model | None:
    return next((model for model in management.versions(name) if model.version == version), None)


def _workers(management: Management, name: str, version: str) -> tuple[Worker, ...]:
    model = _find(management, name, version)
    # One that isn't ready holds no request.
    return () if model is None else tuple(one for one in model.workers if one.status == "READY")


def _steps(workers: tuple[Worker, ...]) -> dict[int, int]:
    return {worker.pid: _steps_of(worker.pid) for worker in workers}


def _steps_of(pid: int) -> int:
    """Count how often a process' main thread gave the processor away; a worker that waits doesn't."""
    try:
        return int(psutil.Process(pid).num_ctx_switches().voluntary)
    except psutil.Error:
        return -1
