import signal
import sys
import threading
from pathlib import Path

import psutil
import pytest

from torchtowers.serving.process import (
    alive,
    deferred_interrupt,
    end,
    end_orphans,
    find,
    interrupted_by_termination,
    spawn,
)

_CHILD = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(60)'])"
_DEAF = "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"


def _spawn(tmp_path: Path, code: str) -> psutil.Process:
    return spawn(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        environment={"TMPDIR": str(tmp_path)},
        console=tmp_path / "console",
    )


def _wait_for(condition: object, seconds: float = 10) -> None:
    assert callable(condition)
    waited = threading.Event()
    for _ in range(int(seconds / 0.02)):
        if condition():
            return
        waited.wait(0.02)
    raise AssertionError("did not come about")


def test_a_process_is_found_by_pid_and_time(tmp_path: Path) -> None:
    process = _spawn(tmp_path, "import time; time.sleep(60)")
    try:
        assert find(process.pid, process.create_time()) == process
        # The same pid, but another process's by now.
        assert find(process.pid, process.create_time() - 60) is None
    finally:
        end(process, timeout=5)
    assert find(process.pid, process.create_time()) is None


def test_an_ended_process_that_its_parent_has_not_looked_at(tmp_path: Path) -> None:
    process = _spawn(tmp_path, "pass")
    _wait_for(lambda: process.status() == psutil.STATUS_ZOMBIE)
    assert not alive(process)
    end(process, timeout=5)


def test_children_end_too(tmp_path: Path) -> None:
    process = _spawn(tmp_path, _CHILD)
    _wait_for(process.children)
    (child,) = process.children()
    end(process, timeout=5)
    assert not alive(process)
    assert not alive(child)


def test_a_process_that_does_not_listen_is_killed(tmp_path: Path) -> None:
    process = _spawn(tmp_path, _DEAF)
    _wait_for(lambda: (tmp_path / "console").read_text() == "deaf\n")
    end(process, timeout=0.1)
    assert not alive(process)


def test_orphans_are_known_by_session_and_folder(tmp_path: Path) -> None:
    process = _spawn(tmp_path, _CHILD)
    _wait_for(process.children)
    (child,) = process.children()
    process.kill()
    process.wait(5)
    end_orphans(process.pid, "/another/folder")
    assert alive(child)
    end_orphans(process.pid, str(tmp_path))
    assert not alive(child)


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupt_waits_for_the_end_of_the_block(sent: signal.Signals) -> None:
    done = []

    def block() -> None:
        with interrupted_by_termination(), deferred_interrupt():
            signal.raise_signal(sent)
            done.append(1)

    with pytest.raises(KeyboardInterrupt):
        block()
    assert done == [1]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.getsignal(signal.SIGTERM) is signal.getsignal(signal.SIGHUP) is signal.SIG_DFL


def test_what_is_ignored_or_taken_already_stays_so() -> None:
    came: list[int] = []
    before = [signal.signal(signal.SIGHUP, signal.SIG_IGN)]
    before.append(signal.signal(signal.SIGTERM, lambda number, _: came.append(number)))
    try:
        with interrupted_by_termination(), deferred_interrupt():
            signal.raise_signal(signal.SIGHUP)
            signal.raise_signal(signal.SIGTERM)
            assert came == []
        assert came == [signal.SIGTERM]
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before[0])
        signal.signal(signal.SIGTERM, before[1])


def test_without_interrupt_and_in_a_thread_nothing_happens() -> None:
    done = []

    def block() -> None:
        with interrupted_by_termination(), deferred_interrupt():
            done.append(1)

    block()
    thread = threading.Thread(target=block)
    thread.start()
    thread.join()
    assert done == [1, 1]
