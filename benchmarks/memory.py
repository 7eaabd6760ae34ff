#!/usr/bin/env python
"""Measure what a second worker takes of the memory, and how long loading takes, beside a small archive.

Both archives have the same towers; the large one has 1,000,000 items of dimension 64 and as many users. Each
is served by TorchServe with one worker and with two. Printed are the proportional set size (PSS) of all
workers, what the second one adds, what of that is due to the size of the index, as a part of the index's
bytes, and the seconds until READY. The files take 2 GB in the temporary directory ($TMPDIR).

    benchmarks/memory.py                       both runtimes; some five minutes
    benchmarks/memory.py --work onnx --rounds 1
    benchmarks/memory.py --json > memory.json
"""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from statistics import median
from tempfile import mkdtemp

import psutil
from large import make_artifact, make_small
from side import HERE
from table import Figures, print_table

from torchtowers.export.archive import build_archive
from torchtowers.export.model_config import ServingConfig
from torchtowers.handlers.signature import Signature
from torchtowers.serving import Client, start, stop

ITEMS = int(os.environ.get("MEMORY_ITEMS", "1_000_000"))
CONFIG = Path(os.environ.get("MEMORY_CONFIG", HERE.parent / "config.properties"))

WORKS = ("onnx", "torchscript")
HEADER = (
    "| runtime | small, 1 worker | 2 workers | large, 1 worker | 2 workers | the second adds | more than for "
    "the small one | of the index | small READY | large READY | more |"
)


@cache
def folder() -> Path:
    """Make both artifacts, and give the folder that they are in."""
    place = Path(mkdtemp(prefix="memory-benchmark-"))
    make_small(place)
    make_artifact(place, items=ITEMS, users=ITEMS)
    return place


def index_bytes() -> int:
    """Give the size of the large artifact's embeddings."""
    index = Signature.read(folder() / "large").index
    assert index is not None
    return index.size * index.dimension * 4


@contextmanager
def served(artifact: Path, runtime: str, workers: int) -> Iterator[float]:
    """Serve an archive, ask it, and give the seconds until it was READY."""
    store, state = folder() / "store", folder() / "state"
    for place in (store, state):
        shutil.rmtree(place, ignore_errors=True)
    settings = ServingConfig(workers=workers)
    build_archive(
        artifact,
        name="model",
        export_path=store,
        runtime=runtime,
        archive_format="zip-store",
        config=settings,
    )
    begin = time.perf_counter()
    start(store, config=CONFIG, state=state, timeout=600)
    seconds = time.perf_counter() - begin
    try:
        with Client.from_state(state) as client:
            # By turns, and so every worker reads what a request needs.
            for _ in range(20 * workers):
                client.predict("model", {"user_id": "more1", "k": 500, "exclude": ["more2", "nothing"]})
        yield seconds
    finally:
        stop(state)


def measure_once(artifact: Path, runtime: str, workers: int) -> tuple[int, float]:
    """Give the PSS of all workers, and the seconds until READY."""
    with served(artifact, runtime, workers) as seconds:
        found = [process for process in psutil.process_iter() if _is_worker(process, folder() / "state")]
        if len(found) != workers:
            raise SystemExit(f"expected {workers} workers, found {len(found)}")
        return sum(process.memory_full_info().pss for process in found), seconds


def _is_worker(process: psutil.Process, state: Path) -> bool:
    try:
        command = " ".join(process.cmdline())
        return "model_service_worker" in command and str(state) in process.environ().get("TMPDIR", "")
    except psutil.Error:
        return False


def measure(name: str, rounds: int) -> Figures:
    """Serve both archives with one worker and with two."""
    pss: dict[str, float] = {}
    seconds: dict[str, float] = {}
    for archive in ("small", "large"):
        for workers in (1, 2):
            taken = [measure_once(folder() / archive, name, workers) for _ in range(rounds)]
            pss[f"{archive}_{workers}"] = median(size for size, _ in taken)
            if workers == 1:
                seconds[archive] = median(ready for _, ready in taken)
    added = {archive: pss[f"{archive}_2"] - pss[f"{archive}_1"] for archive in ("small", "large")}
    return {
        "work": name,
        "rounds": rounds,
        "index_bytes": index_bytes(),
        "pss": pss,
        "second_adds": added["large"],
        "due_to_size": added["large"] - added["small"],
        "part_of_index": (added["large"] - added["small"]) / index_bytes(),
        "ready_seconds": seconds,
        "more_seconds": seconds["large"] - seconds["small"],
    }


def row(figures: Figures) -> str:
    """Make a row of the table."""
    sizes = [figures["pss"][name] for name in ("small_1", "small_2", "large_1", "large_2")]
    megabytes = [f"{size / 1e6:.0f} MB" for size in (*sizes, figures["second_adds"], figures["due_to_size"])]
    ready = [*figures["ready_seconds"].values(), figures["more_seconds"]]
    cells = (figures["work"], *megabytes, f"{figures['part_of_index']:.1%}", *(f"{s:.1f} s" for s in ready))
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    try:
        print_table(__doc__, WORKS, HEADER, measure, row, rounds=1)
    finally:
        if folder.cache_info().currsize:
            shutil.rmtree(folder())
