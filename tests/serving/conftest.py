"""One server for all tests that only ask it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import free_ports_config, running, write_archive
from torchtowers.serving import Client, Server


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with `echo` in two versions; 1.0 is the default."""
    folder = tmp_path_factory.mktemp("serving")
    store = folder / "store"
    store.mkdir()
    write_archive(store, "echo", version="1.0", file="echo-1.mar")
    write_archive(store, "echo", version="2.0", file="echo-2.mar")
    with running(store, free_ports_config(folder), folder / "state") as started:
        yield started


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with Client.from_state(server.state) as connected:
        yield connected


@pytest.fixture
def store(tmp_path: Path) -> Path:
    folder = tmp_path / "store"
    folder.mkdir()
    return folder
