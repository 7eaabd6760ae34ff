"""Starts, recognises and ends one server process; nothing here goes by name."""

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

__all__ = [
    "alive",
    "deferred_interrupt",
    "end",
    "end_orphans",
    "find",
    "interrupted_by_termination",
    "spawn",
]

# The system may correct its clock a little, and the time that a process began moves along.
_CLOCK_SLACK = 2.0
_TERMINATION = (signal.SIGTERM, signal.SIGHUP)


def spawn(command: list[str], *, cwd: Path, environment: dict[str, str], console: Path) -> psutil.Process:
    """Start a process that outlives the caller: its own session, no terminal, output to a file."""
    with console.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    found = psutil.Process(process.pid)
    # It is meant to run on: without this, the interpreter warns when the object goes.
    process.returncode = 0
    return found


def find(pid: int, create_time: float) -> psutil.Process | None:
    """Find a process that was started before; None when it has ended, or its pid is another's by now."""
    try:
        process = psutil.Process(pid)
        if abs(process.create_time() - create_time) > _CLOCK_SLACK or not alive(process):
            return None
    except psutil.NoSuchProcess:
        return None
    return process


def alive(process: psutil.Process) -> bool:
    """Tell whether a process runs; one that has ended and waits for its parent to look doesn't."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def end(process: psutil.Process, timeout: float) -> None:
    """End a process and its children: asked first, killed when that takes longer than `timeout` seconds."""
    children = _children(process)
    _quietly(process.terminate)
    _, remaining = psutil.wait_procs([process], timeout=timeout)
    # Workers end with their server; those that were loading, or that it left behind, don't always.
    family = {*children, *(child for one in remaining for child in _children(one))}
    for one in [*remaining, *family]:
        _quietly(one.kill)
    psutil.wait_procs([*remaining, *family], timeout=10)


def end_orphans(leader: int, tmp: str) -> None:
    """Kill the workers of a server that ended without ending them.

    They are known by the session that their server opened and by its own temporary folder.
    """
    orphans = []
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == leader and process.environ().get("TMPDIR") == tmp:
                orphans.append(process)
        except (OSError, psutil.Error):
            continue
    for orphan in orphans:
        _quietly(orphan.kill)
    psutil.wait_procs(orphans, timeout=10)


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _quietly(action: Callable[[], object]) -> None:
    # psutil itself makes sure that the pid still is the same process's.
    with suppress(psutil.NoSuchProcess):
        action()


@contextmanager
def deferred_interrupt() -> Iterator[None]:
    """Hold Ctrl-C, SIGTERM and SIGHUP back until the block is done: nothing is started and then not known."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    arrived: list[int] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, *_TERMINATION)}
    heard = [number for number, handler in before.items() if handler is not signal.SIG_IGN]
    for number in heard:
        signal.signal(number, lambda came, _: arrived.append(came))
    try:
        yield
    finally:
        for number in heard:
            signal.signal(number, before[number] or signal.SIG_DFL)
        for one in arrived:
            signal.raise_signal(one)


@contextmanager
def interrupted_by_termination() -> Iterator[None]:
    """Have SIGTERM and SIGHUP do what Ctrl-C does, where they would end the process on the spot."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    taken = [number for number in _TERMINATION if signal.getsignal(number) is signal.SIG_DFL]
    for number in taken:
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)
