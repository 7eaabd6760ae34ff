import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.servers import free_ports_config, processes_of, running, stop_if_running, write_archive
from torchtowers.serving import Client, Server, start, status, stop
from torchtowers.serving.errors import ServerNotRunningError, ServerStartError, ServingError
from torchtowers.serving.state import StateFolder

_START = """
import sys
from pathlib import Path
from torchtowers.serving import start

store, config, state = map(Path, sys.argv[1:])
print(start(store, config=config, state=state, progress=lambda line: print(line, file=sys.stderr)).pid)
"""


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    """A state folder whose server is gone after the test, whatever happened."""
    folder = tmp_path / "state"
    yield folder
    stop_if_running(folder)
    for process in processes_of(folder):
        process.kill()


@pytest.mark.java
def test_status_tells_what_runs(server: Server) -> None:
    told = status(server.state)
    assert told is not None
    assert told.pid == server.pid
    assert told.ready
    assert [(model.name, model.version) for model in told.models] == [("echo", "1.0"), ("echo", "2.0")]
    workers = {worker.pid for model in told.models for worker in model.workers}
    assert workers <= {child.pid for child in psutil.Process(server.pid).children()}
    assert len(workers) == 2


@pytest.mark.java
def test_workers_run_this_interpreter(server: Server) -> None:
    worker = psutil.Process(server.models[0].workers[0].pid)
    assert worker.cmdline()[0] == sys.executable


@pytest.mark.java
def test_a_second_start_says_that_one_runs(server: Server) -> None:
    with pytest.raises(ServingError, match=rf"already running \(pid {server.pid}.*torchtowers serve stop"):
        start(Path(server.record.model_store), config=Path(server.record.config), state=server.state)


@pytest.mark.java
def test_a_port_in_use_is_named(server: Server, state: Path) -> None:
    port = server.record.inference.rpartition(":")[2]
    with pytest.raises(ServingError, match=rf"port {port} .* is in use.*inference_address"):
        start(Path(server.record.model_store), config=Path(server.record.config), state=state)
    assert processes_of(state) == []


@pytest.mark.java
def test_a_server_outlives_its_caller_and_stops(store: Path, tmp_path: Path, state: Path) -> None:
    write_archive(store, "echo")
    command = [sys.executable, "-c", _START, str(store), str(free_ports_config(tmp_path)), str(state)]
    caller = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert caller.returncode == 0, caller.stderr
    pid = int(caller.stdout)
    assert os.getsid(pid) == pid
    with Client.from_state(state) as client:
        assert client.predict("echo", {"user_id": "7"})["items"][0] == "7"
    stop(state)
    assert not psutil.pid_exists(pid)
    assert processes_of(state) == []
    assert not (state / "key_file.json").exists()
    assert not (state / "tmp").exists()
    assert status(state) is None
    with pytest.raises(ServerNotRunningError, match="torchtowers serve start"):
        stop(state)
    with pytest.raises(ServerNotRunningError, match="torchtowers serve start"):
        Client.from_state(state)


@pytest.mark.java
def test_a_killed_server_leaves_nothing_to_stop(store: Path, tmp_path: Path, state: Path) -> None:
    write_archive(store, "echo")
    with running(store, free_ports_config(tmp_path), state) as server:
        process = psutil.Process(server.pid)
        # Stopped, a worker can't notice that its server is gone.
        worker = psutil.Process(server.models[0].workers[0].pid)
        worker.suspend()
        process.kill()
        process.wait(10)
        assert status(state) is None
        with pytest.raises(ServerNotRunningError):
            stop(state)
        assert processes_of(state) == []
        assert not StateFolder(state).record_file.exists()


@pytest.mark.java
def test_a_handler_that_fails_to_load(store: Path, tmp_path: Path, state: Path) -> None:
    handler = """
class Broken:
    def initialize(self, context):
        raise ValueError("signature.json: format version 9, expected 1")

    def handle(self, data, context):
        return data
"""
    write_archive(store, "broken", handler)
    began = time.monotonic()
    with pytest.raises(ServerStartError) as caught:
        start(store, config=free_ports_config(tmp_path), state=state)
    assert time.monotonic() - began < 60
    log = state / "logs" / "model_log.log"
    assert str(caught.value) == (
        "broken.mar (broken 1.0): its worker died: ValueError: signature.json: format version 9, expected 1; "
        f"its log is {log}"
    )
    assert processes_of(state) == []
    assert status(state) is None
    assert not (state / "key_file.json").exists()


@pytest.mark.java
def test_a_server_that_ends_at_its_start(store: Path, tmp_path: Path, state: Path) -> None:
    write_archive(store, "echo")
    config = free_ports_config(tmp_path, vmargs="-XX:+NoSuchOption")
    with pytest.raises(ServerStartError, match=r"ended at its start: Unrecognized VM option .*console\.log$"):
        start(store, config=config, state=state)
    assert processes_of(state) == []


@pytest.mark.java
def test_a_start_that_takes_too_long(store: Path, tmp_path: Path, state: Path) -> None:
    write_archive(store, "echo")
    with pytest.raises(ServerStartError, match=r"^echo\.mar \(echo 1\.0\): not ready after 0\.5 s"):
        start(store, config=free_ports_config(tmp_path), state=state, timeout=0.5)
    assert processes_of(state) == []


@pytest.mark.java
def test_ctrl_c_during_a_start(store: Path, tmp_path: Path, state: Path) -> None:
    write_archive(store, "echo")
    command = [sys.executable, "-c", _START, str(store), str(free_ports_config(tmp_path)), str(state)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as caller:
        record = StateFolder(state).record_file
        deadline = time.monotonic() + 60
        while not record.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        pid = json.loads(record.read_text())["pid"]
        # While the server loads its model.
        time.sleep(1)
        assert psutil.pid_exists(pid)
        caller.send_signal(signal.SIGINT)
        _, errors = caller.communicate(timeout=30)
    assert "KeyboardInterrupt" in errors
    assert processes_of(state) == []
    assert not record.exists()


def test_stop_and_status_when_nothing_ever_ran(tmp_path: Path) -> None:
    assert status(tmp_path / "state") is None
    with pytest.raises(ServerNotRunningError, match=str(tmp_path)):
        stop(tmp_path / "state")
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("made", ["store", "config"])
def test_something_missing_is_told_before_anything_starts(store: Path, tmp_path: Path, made: str) -> None:
    write_archive(store, "echo")
    config = free_ports_config(tmp_path) if made == "config" else tmp_path / "none.properties"
    with pytest.raises(ServingError, match="no such"):
        start(store if made == "store" else tmp_path / "none", config=config, state=tmp_path / "state")
    with pytest.raises(ServingError, match="no such"):  # paths may be texts
        start(
            str(store if made == "store" else tmp_path / "none"),
            config=str(config),
            state=str(tmp_path / "state"),
        )
    assert not (tmp_path / "state").exists()


def test_two_starts_at_once(store: Path, tmp_path: Path) -> None:
    write_archive(store, "echo")
    config = free_ports_config(tmp_path)
    folder = StateFolder(tmp_path / "state")
    with folder.lock("start", wait=False), pytest.raises(ServingError, match="another start is under way"):
        start(store, config=config, state=folder.path)


def test_logs_that_can_not_be_written(store: Path, tmp_path: Path) -> None:
    write_archive(store, "echo")
    (tmp_path / "state" / "logs" / "console.log").mkdir(parents=True)
    with pytest.raises(ServingError, match=r"can't write the state folder \(Is a directory\): .*--state"):
        start(store, config=free_ports_config(tmp_path), state=tmp_path / "state")


def test_a_deploy_needs_tokens(store: Path, tmp_path: Path) -> None:
    write_archive(store, "echo")
    config = free_ports_config(tmp_path, disable_token_authorization="true")
    with pytest.raises(ServingError, match=r"disable_token_authorization=true lets everyone .* run code"):
        start(store, config=config, state=tmp_path / "state", allow_deploy=True)
    assert not (tmp_path / "state").exists()
