"""What a real server meets in its life: workers that are killed, clients that are slow or go away."""

import json
import os
import signal
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest

from tests.servers import free_ports_config, running, write_archive
from tests.serving.load import load
from torchtowers.serving import Client, Retry, Server, current_token, status
from torchtowers.serving.errors import AnswerError, AnswerTimeoutError

pytestmark = pytest.mark.java

TWO = "minWorkers: 2\nmaxWorkers: 2\nbatchSize: 4\nmaxBatchDelay: 1\n"
BODY = {"user_id": "7"}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with `m`, which two workers run."""
    folder = tmp_path_factory.mktemp("faults")
    store = folder / "store"
    store.mkdir()
    write_archive(store, "m", model_config=TWO)
    with running(store, free_ports_config(folder), folder / "state") as server:
        yield server


def workers_of(server: Server) -> list[psutil.Process]:
    told = status(server.state)
    assert told is not None
    return [psutil.Process(worker.pid) for model in told.models for worker in model.workers if worker.pid > 0]


def wait_until_ready(server: Server, but: set[int]) -> None:
    until = time.monotonic() + 60
    while True:
        told = status(server.state)
        if told is not None and told.ready and but.isdisjoint(process.pid for process in workers_of(server)):
            return
        assert time.monotonic() < until
        time.sleep(0.1)


@pytest.mark.parametrize("grpc", [False, True], ids=["rest", "grpc"])
def test_a_killed_worker_costs_no_call(served: Server, grpc: bool) -> None:
    with load(served.state, "m", BODY, clients=32, retry=Retry(), grpc=grpc) as seen:
        seen.wait_for(200)
        killed = workers_of(served)[0]
        os.kill(killed.pid, signal.SIGKILL)
        began = time.monotonic()
        seen.wait_for(200)
        # The other one answers while the killed one is away.
        assert time.monotonic() - began < 20
        wait_until_ready(served, {killed.pid})
        seen.wait_for(100)
    assert seen.failures == []


def test_without_retries_the_killed_workers_batch_is_lost(served: Server) -> None:
    failures: list[AnswerError] = []

    def ask(client: Client) -> None:
        try:
            client.predict("m", {**BODY, "sleep": 1})
        except AnswerError as error:
            failures.append(error)

    with Client.from_state(served.state, retry=Retry(times=0)) as client:
        threads = [threading.Thread(target=ask, args=(client,)) for _ in range(2)]
        for thread in threads:
            thread.start()
        time.sleep(0.4)
        killed = {process.pid for process in workers_of(served)}
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        for thread in threads:
            thread.join()
    assert {(str(error), error.type) for error in failures} == {("Worker died.", "InternalServerException")}
    wait_until_ready(served, killed)


def test_what_was_put_together_to_a_batch_is_lost_and_sent_again(tmp_path: Path) -> None:
    store = tmp_path / "store"
    store.mkdir()
    fills = "minWorkers: 1\nmaxWorkers: 1\nbatchSize: 8\nmaxBatchDelay: 3000\n"
    write_archive(store, "fills", model_config=fills)
    ends: dict[int, Any] = {}

    def ask(times: int) -> None:
        retry = Retry(times=times, unanswered=4)
        with Client.from_state(server.state, retry=retry) as client:
            try:
                ends[times] = client.predict("fills", BODY, timeout=30 if times else 12)
            except AnswerError as error:
                ends[times] = error

    with running(store, free_ports_config(tmp_path), tmp_path / "state") as server:
        (worker,) = workers_of(server)
        threads = [threading.Thread(target=ask, args=(times,)) for times in (0, 5)]
        for thread in threads:
            thread.start()
        time.sleep(1)
        worker.kill()
        for thread in threads:
            thread.join()
    assert isinstance(ends[0], AnswerTimeoutError)
    assert isinstance(ends[5], dict)


def connect(server: Server) -> socket.socket:
    parts = urlsplit(server.record.inference)
    return socket.create_connection((parts.hostname or "", parts.port or 0), timeout=10)


def request(server: Server, *, length: int | None = None) -> bytes:
    body = json.dumps(BODY).encode()
    head = (
        f"POST /predictions/m HTTP/1.1\r\nHost: m\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {current_token(state=server.state)}\r\n"
        f"Content-Length: {len(body) if length is None else length}\r\n\r\n"
    )
    return head.encode() + body


def test_slow_and_broken_clients_do_no_harm(served: Server) -> None:
    whole = request(served)
    # Headers that come slowly, and bodies that are shorter than they say.
    slow = [connect(served) for _ in range(60)]
    for number, connection in enumerate(slow):
        connection.sendall(whole[:40] if number % 2 else request(served, length=1000))
    with load(served.state, "m", BODY, clients=8) as seen:
        seen.wait_for(50)
        for _ in range(50):
            for part in (whole[: len(whole) // 2], whole):
                _reset(served, part)
                _half_close(served, part)
        seen.wait_for(50)
    assert seen.failures == []
    # A slow one is waited for, and answered when it has sent all.
    slow[1].sendall(whole[40:])
    assert slow[1].recv(65536).startswith(b"HTTP/1.1 200")
    for connection in slow:
        connection.close()


def _reset(server: Server, part: bytes) -> None:
    connection = connect(server)
    connection.sendall(part)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def _half_close(server: Server, part: bytes) -> None:
    """Send, say that nothing more comes, and read; TorchServe ends the connection, answered or not."""
    with connect(server) as connection:
        connection.sendall(part)
        connection.shutdown(socket.SHUT_WR)
        with suppress(ConnectionResetError):
            while connection.recv(65536):
                pass
