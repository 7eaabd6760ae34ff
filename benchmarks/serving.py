"""Measure serving over REST: ours, a naive handler, TorchServe's ceiling, LitServe and BentoML, in one run.

    benchmarks/serving.py --seconds 8 --rounds 3 RUN_OR_ARTIFACT

RUN_OR_ARTIFACT is a retrieval run, or what `torchtowers export` made of it. Ours answers as it is shipped:
with the towers, history and index of the artifact, checked requests, metrics and the default batching. The
others answer the same users from embeddings that were computed before. All sides are asked by turns by the
load tool of `torchtowers serve load`, over 64 connections and over one; every answer of ours is compared.
"""

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from machine import describe_machine
from side import HERE, peer_python

ROOT = HERE.parent
K = 10
CLIENTS = 64
PEERS = HERE / "peers"


@dataclass
class Side:
    """One way to serve, and what was measured of it.

    Args:
        name: In the table.
        measure: Takes the number of clients; gives the load tool's result.
    """

    name: str
    measure: Callable[[int], Any]
    rates: list[float] = field(default_factory=list)
    p50: list[float] = field(default_factory=list)
    p99: list[float] = field(default_factory=list)
    p50_alone: list[float] = field(default_factory=list)
    errors: int = 0
    wrong: int = 0

    def round(self) -> None:
        """Measure once under load, and once alone."""
        loaded, alone = self.measure(CLIENTS), self.measure(1)
        self.rates.append(loaded.requests_per_second)
        self.p50.append(loaded.percentile(50) or 0.0)
        self.p99.append(loaded.percentile(99) or 0.0)
        self.p50_alone.append(alone.percentile(50) or 0.0)
        self.errors += loaded.failed + alone.failed
        self.wrong += loaded.wrong + alone.wrong


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("artifact", type=Path, metavar="RUN_OR_ARTIFACT")
    parser.add_argument("--seconds", type=float, default=8.0, help="of each measurement (8)")
    parser.add_argument("--rounds", type=int, default=3, help="of each side (3)")
    parser.add_argument("--runtime", default="onnx", help="of our archive (onnx)")
    parser.add_argument("--workers", type=int, default=1, help="of every archive in TorchServe (1)")
    parser.add_argument("--without", action="append", default=[], choices=("litserve", "bentoml"))
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="serving-") as folder, ExitStack() as servers:
        sides = list(_sides(Path(folder), options, servers))
        for number in range(options.rounds):
            for side in sides:
                print(f"round {number + 1} of {options.rounds}: {side.name}", file=sys.stderr, flush=True)
                side.round()
    _print(sides, options)


def _sides(folder: Path, options: argparse.Namespace, servers: ExitStack) -> Iterator[Side]:
    from torchtowers.export import ServingConfig, build_archive
    from torchtowers.serving.load import measure_load

    artifact = _artifact(options.artifact, folder)
    users = _write_naive(artifact, folder)
    store = folder / "store"
    store.mkdir()
    config = ServingConfig(workers=options.workers)
    build_archive(artifact, name="ours", export_path=store, runtime=options.runtime, config=config)
    two = ServingConfig(workers=2)
    build_archive(artifact, name="ours-two", export_path=store, runtime=options.runtime, config=two)
    batching = {"batchSize": config.batch_size, "maxBatchDelay": config.max_batch_delay}
    _archive(store, "echo", PEERS / "echo_handler.py", options.workers, batching)
    naive = [folder / "naive.json"]
    _archive(
        store, "naive", PEERS / "naive_handler.py", options.workers, batching, folder / "naive.pt", naive
    )
    alone = {"batchSize": 1, "maxBatchDelay": 1}
    _archive(store, "naive-alone", PEERS / "naive_handler.py", 1, alone, folder / "naive.pt", naive)
    state = servers.enter_context(_torchserve(store, folder))
    bodies = [{"user_id": user, "k": K} for user in users]

    def torchserve(name: str, *, check: bool = False) -> Callable[[int], Any]:
        return lambda clients: measure_load(
            name, bodies, clients=clients, seconds=options.seconds, warm_up=1, state=state, check=check
        )

    yield Side("ours", torchserve("ours", check=True))
    yield Side("ours, two workers", torchserve("ours-two", check=True))
    yield Side("echo handler, the same batching", torchserve("echo"))
    yield Side("naive handler, the same batching", torchserve("naive"))
    yield Side("naive handler, batch 1", torchserve("naive-alone"))
    python = peer_python("serving") if len(options.without) < 2 else ""
    if "litserve" not in options.without:
        port = servers.enter_context(
            _peer(lambda port: [python, "serve_litserve.py", str(folder), str(port)], folder)
        )
        yield Side("LitServe 0.2.19, batch 32", _other("litserve", port, "/predict", bodies, options.seconds))
    if "bentoml" not in options.without:
        command = [python, "-m", "bentoml", "serve", "serve_bentoml:Recommend", "--host", "127.0.0.1"]
        port = servers.enter_context(_peer(lambda port: [*command, "--port", str(port)], folder))
        wrapped = [{"requests": [body]} for body in bodies]
        yield Side(
            "BentoML 1.4.40, adaptive batch", _other("bentoml", port, "/recommend", wrapped, options.seconds)
        )


def _other(name: str, port: int, path: str, bodies: list[Any], seconds: float) -> Callable[[int], Any]:
    from torchtowers.serving.load import run_load
    from torchtowers.serving.load_http import HttpLoad
    from torchtowers.serving.load_record import Recorder, encoded

    def measure(clients: int) -> Any:
        recorder = Recorder(encoded(bodies), [None] * len(bodies))
        address = f"http://127.0.0.1:{port}"
        return run_load(
            lambda: HttpLoad(address, path, recorder, None, 30.0),
            recorder,
            name,
            clients=clients,
            seconds=seconds,
            warm_up=1,
        )

    return measure


def _artifact(given: Path, folder: Path) -> Path:
    """Export a run; of an artifact its own handlers' package is brought up to date."""
    if (given / "signature.json").exists():
        return given
    command = ["torchtowers", "export", str(given), "--out", str(folder / "artifact")]
    subprocess.run(
        [*command, "--format", "onnx", "--format", "torchscript"], check=True, stdout=subprocess.DEVNULL
    )
    return folder / "artifact"


def _write_naive(artifact: Path, folder: Path) -> list[str]:
    """Write the naive model of an artifact's users and items; gives the users that are asked for."""
    sys.path.insert(0, str(PEERS))
    import torch
    from naive_model import NaiveModel

    from torchtowers.handlers.recommender import Recommender
    from torchtowers.handlers.request import Row
    from torchtowers.handlers.tower_search import TowerSearch

    recommender = Recommender.load(artifact)
    search, encoder = recommender.search, recommender.encoder
    assert isinstance(search, TowerSearch)
    users = list(encoder.tokens)[:2000]
    rows = [encoder.encode(Row({encoder.key: user}, k=K)) for user in users]
    embeddings = np.concatenate(
        [search.tower(encoder.stack(rows[begin : begin + 256])) for begin in range(0, len(rows), 256)]
    )
    items = search.index.scored.take(slice(None))
    module = NaiveModel(torch.from_numpy(embeddings), torch.from_numpy(items), K).eval()
    torch.jit.script(module).save(str(folder / "naive.pt"))
    ids = [json.loads(search.ids.raw(row)) for row in range(len(search.ids))]
    (folder / "naive.json").write_text(json.dumps({"users": users, "items": ids}))
    return users


def _archive(
    store: Path,
    name: str,
    handler: Path,
    workers: int,
    batching: dict[str, int],
    serialized: Path | None = None,
    extra: list[Path] | None = None,
) -> None:
    """Make an archive with TorchServe's own archiver, as its users do."""
    with tempfile.TemporaryDirectory() as tmp:
        settings = {"minWorkers": workers, "maxWorkers": workers, **batching}
        config = Path(tmp) / "model-config.yaml"
        config.write_text("".join(f"{key}: {value}\n" for key, value in settings.items()))
        command = [
            "torch-model-archiver",
            "--model-name",
            name,
            "--version",
            "1.0",
            "--handler",
            str(handler),
        ]
        command += ["--config-file", str(config), "--export-path", str(store)]
        if serialized:
            command += ["--serialized-file", str(serialized)]
        if extra:
            command += ["--extra-files", ",".join(map(str, extra))]
        subprocess.run(command, check=True, env={**os.environ, "TMPDIR": tmp}, stdout=subprocess.DEVNULL)


@contextmanager
def _torchserve(store: Path, folder: Path) -> Iterator[Path]:
    """Start TorchServe with the shipped configuration on free ports; gives the state folder."""
    from torchtowers.serving import start, stop

    text = (ROOT / "config.properties").read_text()
    for port in (8080, 8081, 8082, 7070, 7071):
        text = text.replace(f":{port}", f":{_free_port()}").replace(f"_port={port}", f"_port={_free_port()}")
    config = folder / "config.properties"
    config.write_text(text)
    state = folder / "state"
    start(store, config=config, state=state, progress=lambda line: print(line, file=sys.stderr))
    try:
        yield state
    finally:
        stop(state)


@contextmanager
def _peer(command: Callable[[int], list[str]], folder: Path) -> Iterator[int]:
    """Start another server in a process group of its own; gives its port."""
    port = _free_port()
    environment = {
        **os.environ,
        "NAIVE_FOLDER": str(folder),
        "OMP_NUM_THREADS": "1",
        "BENTOML_DO_NOT_TRACK": "1",
    }
    log = (folder / f"peer-{port}.log").open("w")
    process = subprocess.Popen(
        command(port), cwd=PEERS, env=environment, stdout=log, stderr=log, start_new_session=True
    )
    try:
        deadline = time.monotonic() + 120
        while not _listens(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{command(port)} does not come up:\n{Path(log.name).read_text()[-3000:]}")
            time.sleep(0.2)
        yield port
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        log.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _print(sides: list[Side], options: argparse.Namespace) -> None:
    ours = median(sides[0].rates)
    figures = [
        {
            "side": side.name,
            "requests_per_second": round(median(side.rates), 1),
            "ours_to_it": round(ours / max(median(side.rates), 1e-9), 2),
            "p50_ms": round(median(side.p50), 2),
            "p99_ms": round(median(side.p99), 2),
            "p50_ms_one_connection": round(median(side.p50_alone), 2),
            "errors": side.errors,
            "wrong": side.wrong,
        }
        for side in sides
    ]
    if options.json:
        print(json.dumps({"machine": describe_machine(), "sides": figures}, indent=1))
        return
    print(describe_machine(), "", sep="\n")
    print(f"| | requests/s, {CLIENTS} clients | ours to it | p50 ms | p99 ms | p50 ms, 1 client | errors |")
    print("|---" * 7 + "|")
    for row in figures:
        print(
            f"| {row['side']} | {row['requests_per_second']:,.0f} | {row['ours_to_it']:.2f} "
            f"| {row['p50_ms']:.2f} | {row['p99_ms']:.2f} | {row['p50_ms_one_connection']:.2f} "
            f"| {row['errors']:,} |"
        )
    wrong = sum(side.wrong for side in sides)
    if wrong:
        raise SystemExit(f"{wrong} of our answers were wrong")


if __name__ == "__main__":
    main()
