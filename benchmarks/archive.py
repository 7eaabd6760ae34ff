#!/usr/bin/env python
"""Time the build of an archive beside copying and hashing its files, and beside torch-model-archiver.

The artifact is 1 GB of random embeddings with ids. Each side is a process of its own; they run by turns, so
that what else the machine does falls on all. Printed are medians over the rounds, ratios, our peak memory.
The artifact and the archives take 4 GB in the temporary directory ($TMPDIR).

    benchmarks/archive.py                     all works, 3 rounds; some six minutes
    benchmarks/archive.py --work signed --rounds 1
    benchmarks/archive.py --json > archive.json
"""

import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import median
from tempfile import mkdtemp

import numpy as np
from side import HERE
from table import Figures, print_table

from torchtowers.export.signing import generate_key
from torchtowers.export.vendored import write_vendored
from torchtowers.handlers.index_spec import IndexSpec
from torchtowers.handlers.signature import Signature, TowerSpec, sha256_of
from torchtowers.handlers.token_table import TokenTable
from torchtowers.handlers.vocabulary import Vocabulary

ITEMS, DIM = int(os.environ.get("ARCHIVE_ITEMS", "4_000_000")), 64


@dataclass(frozen=True)
class Work:
    """A row of the table.

    Args:
        title: What is done.
        arguments: Of `ours.archive`.
        is_compared: Whether torch-model-archiver runs beside it.
    """

    title: str
    arguments: tuple[str, ...] = ()
    is_compared: bool = False


WORKS = {
    "built": Work("archive of 1 GB", is_compared=True),
    "signed": Work("the same, signed", ("--sign",)),
    "tgz": Work("the same as tar.gz", ("--format", "tgz")),
}


@cache
def folder() -> Path:
    """Make the artifact, and give the folder that it is in."""
    place = Path(mkdtemp(prefix="archive-benchmark-"))
    artifact = place / "artifact"
    (artifact / "index").mkdir(parents=True)
    embeddings = np.lib.format.open_memmap(artifact / "index/embeddings.npy", "w+", np.float32, (ITEMS, DIM))
    random = np.random.default_rng(0)
    for rows in np.array_split(np.arange(ITEMS), 16):
        embeddings[rows] = random.standard_normal((len(rows), DIM), dtype=np.float32)
    embeddings.flush()
    TokenTable.of(map(str, range(ITEMS))).save(artifact, "index/ids")
    (artifact / "query.onnx").write_bytes(b"a tower")
    Vocabulary(()).save(artifact, "users")
    write_vendored(artifact, "retrieval")
    signature = Signature(
        kind="retrieval",
        query=TowerSpec("user_id", "users", ()),
        candidate=None,
        history=None,
        index=IndexSpec(ITEMS, DIM, "dot", True, "index/embeddings.npy", "index/ids"),
        columns={},
        towers={"onnx": {"query": "query.onnx"}},
        onnx_opset=18,
        versions={},
        files={
            path.relative_to(artifact).as_posix(): sha256_of(path)
            for path in artifact.rglob("*")
            if path.is_file() and path.name != "model-config.yaml"
        },
    )
    signature.write(artifact)
    generate_key(place / "key")
    return place


def run(*command: str) -> tuple[float, str]:
    """Give the seconds that a process takes, and what it prints."""
    (folder() / "out").mkdir()
    (folder() / "tmp").mkdir()
    environment = {**os.environ, "TMPDIR": str(folder() / "tmp")}
    begin = time.perf_counter()
    done = subprocess.run(command, cwd=HERE, env=environment, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - begin
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} exited with {done.returncode}:\n{done.stderr[-3000:]}")
    for name in ("out", "tmp"):
        shutil.rmtree(folder() / name)
    os.sync()  # so that the next side does not wait for this one's pages
    return seconds, done.stdout


def measure(name: str, rounds: int) -> Figures:
    """Run one work on all sides."""
    work, place = WORKS[name], str(folder())
    artifact = f"{place}/artifact"
    sides = {
        "copy": (sys.executable, "-m", "ours.archive", place, "--copy"),
        "ours": (sys.executable, "-m", "ours.archive", place, *work.arguments),
    }
    if work.is_compared:
        sides["archiver"] = (
            *(str(Path(sys.executable).with_name("torch-model-archiver")), "--model-name", "m"),
            *("--version", "1.0", "--serialized-file", f"{artifact}/query.onnx"),
            *("--handler", f"{artifact}/retrieval_handler.py", "--extra-files", artifact),
            *("--config-file", f"{artifact}/model-config.yaml", "--export-path", f"{place}/out"),
        )
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    peak = 0.0
    for _ in range(rounds):
        for side, command in sides.items():
            taken, said = run(*command)
            seconds[side].append(taken)
            peak = max(peak, float(said) / 1e6) if side == "ours" else peak
    medians = {side: median(taken) for side, taken in seconds.items()}
    theirs = medians.get("archiver")
    return {
        "work": name,
        "title": work.title,
        "rounds": rounds,
        **{f"{side}_seconds": taken for side, taken in seconds.items()},
        "times_of_copying": medians["ours"] / medians["copy"],
        "times_faster_than_archiver": None if theirs is None else theirs / medians["ours"],
        "peak_mb": peak,
    }


def row(figures: Figures) -> str:
    """Make a row of the table."""
    medians = {
        side: f"{median(figures[f'{side}_seconds']):.1f} s" if f"{side}_seconds" in figures else "-"
        for side in ("copy", "ours", "archiver")
    }
    faster = figures["times_faster_than_archiver"]
    cells = (
        *(figures["title"], medians["copy"], medians["ours"], f"{figures['times_of_copying']:.2f}"),
        *(medians["archiver"], "-" if faster is None else f"{faster:.1f}", f"{figures['peak_mb']:.0f} MB"),
    )
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    try:
        print_table(
            __doc__,
            WORKS,
            "| work | copy and hash | ours | times | torch-model-archiver | times faster | our peak memory |",
            measure,
            row,
            rounds=3,
        )
    finally:
        if folder.cache_info().currsize:
            shutil.rmtree(folder())
