"""Fuzzed requests to a real TorchServe over REST and gRPC: no 5xx, no dead worker, good ones are answered."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fuzz.clients import clients, pids
from tests.servers import free_ports_config, running
from torchtowers.serving import Server

pytestmark = pytest.mark.java

CLIENTS = 12


@pytest.fixture(scope="module")
def server(mixed_archives: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("fuzzed")
    config = free_ports_config(folder, ts_open_inference_protocol="true", token_expiration_min="600")
    with running(mixed_archives, config, folder / "state") as started:
        yield started


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("count", [1_500, pytest.param(50_000, marks=pytest.mark.slow)])
def test_fuzzed_requests_cost_no_worker_and_no_good_request(server: Server, count: int) -> None:
    before = pids(server)
    with clients(server, CLIENTS, count // CLIENTS, seed=count) as (seen, threads):
        for thread in threads:
            thread.join()
    assert not seen.wrong, f"{seen.statuses}\n" + "\n".join(seen.wrong)
    assert pids(server) == before
    # As many as were sent: a client that ended before its time is none.
    assert sum(seen.statuses.values()) >= count // CLIENTS * CLIENTS
    for way in ("json", "bytes", "form", "multipart", "grpc", "infer"):
        assert min(seen.statuses[f"{way} {code}"] for code in (200, 400)) > count // 400, seen.statuses
