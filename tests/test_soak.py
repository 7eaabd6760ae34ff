"""Mixed load for a while: the memory of the workers and of the server stays as it was after warm-up.

A worker's own memory (USS) is measured. Java's heap grows by design until it is collected, so the server has
one of a fixed size here, touched at the start: a leak inside it ends in errors, and one outside it is growth.
"""

import statistics
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil
import pytest

from tests.fuzz.clients import clients, pids
from tests.servers import free_ports_config, running, write_archive
from torchtowers.serving import Client, Server

pytestmark = pytest.mark.java

HEAP = "-Xms256m -Xmx256m -XX:+AlwaysPreTouch"

LEAK = """
class Leaks:
    def initialize(self, context):
        self.kept = []

    def handle(self, data, context):
        self.kept.append(bytearray(b"x") * 500_000)
        return ["{}"] * len(data)
"""


@pytest.fixture(scope="module")
def server(mixed_archives: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("soak")
    config = free_ports_config(
        folder, ts_open_inference_protocol="true", token_expiration_min="600", vmargs=HEAP
    )
    with running(mixed_archives, config, folder / "state") as started:
        yield started


class Memory:
    """Samples of processes' own memory, and of what else a leak would add to."""

    def __init__(self, processes: dict[int, str]) -> None:
        self._processes = {name: psutil.Process(pid) for pid, name in processes.items()}
        self._samples: dict[str, list[int]] = defaultdict(list)
        self._files: dict[str, list[int]] = defaultdict(list)

    def watch(self, seconds: float, *, warm_up: float) -> None:
        """Wait for `warm_up` seconds, and take a hundred samples in the others."""
        time.sleep(warm_up)
        pause = (seconds - warm_up) / 100
        for _ in range(100):
            for name, process in self._processes.items():
                self._samples[name].append(process.memory_full_info().uss)
                self._files[name].append(process.num_fds() + process.num_threads())
            time.sleep(pause)

    def growth(self) -> dict[str, float]:
        """Give how much more there was at the end than at the beginning, as a share of that."""
        return {name: _growth(samples) for name, samples in self._samples.items()}

    def more_files(self) -> dict[str, float]:
        """Give how many more files and threads there were at the end."""
        return {name: _ends(samples)[1] - _ends(samples)[0] for name, samples in self._files.items()}


def _ends(samples: Sequence[int]) -> tuple[float, float]:
    part = len(samples) // 5
    return statistics.median(samples[:part]), statistics.median(samples[-part:])


def _growth(samples: Sequence[int]) -> float:
    begin, end = _ends(samples)
    return end / begin - 1


@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    ("seconds", "warm_up", "most"),
    [(20, 8, 0.1), pytest.param(600, 120, 0.02, marks=pytest.mark.slow)],
    ids=["short", "10 minutes"],
)
def test_memory_is_flat_under_mixed_load(server: Server, seconds: int, warm_up: int, most: float) -> None:
    workers = pids(server)
    memory = Memory({**workers, server.pid: "server"})
    with clients(server, 6, 10**9, seed=seconds) as (seen, _):
        memory.watch(seconds, warm_up=warm_up)
    assert not seen.wrong, "\n".join(seen.wrong)
    assert pids(server) == workers
    assert sum(seen.statuses.values()) > 20 * seconds
    assert {name: growth for name, growth in memory.growth().items() if growth > most} == {}
    # Threads and connections come with load, and stay few.
    assert all(more <= 30 for more in memory.more_files().values()), memory.more_files()


def test_a_leak_is_seen(tmp_path: Path) -> None:
    store = tmp_path / "store"
    store.mkdir()
    write_archive(store, "leaks", LEAK, model_config="minWorkers: 1\nmaxWorkers: 1\n")
    stopped = threading.Event()

    def ask() -> None:
        while not stopped.wait(0.02):
            client.predict("leaks", {})

    with (
        running(store, free_ports_config(tmp_path), tmp_path / "state") as started,
        Client.from_state(started.state) as client,
    ):
        memory = Memory(pids(started))
        asking = threading.Thread(target=ask)
        asking.start()
        memory.watch(8, warm_up=1)
        stopped.set()
        asking.join()
    assert memory.growth()["leaks"] > 0.1
