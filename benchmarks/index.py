#!/usr/bin/env python
"""Time searches beside the real TFRS, exact and approximate, on the same candidates in one run.

Each side is a process of its own; they run by turns, so that what else the machine does falls on both.
Printed are medians over the rounds and their ratio; for approximate searches also which part of the true best
100 each side finds. The first call makes benchmarks/.peer (2 GB).

    benchmarks/index.py                       all works, 9 rounds; some five minutes
    benchmarks/index.py --work exact_1 --rounds 3
    benchmarks/index.py --json > index.json
"""

import os
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from index_data import K, clustered
from numpy.typing import NDArray
from side import Side, peer_python, take_turns
from table import Figures, print_table


@dataclass(frozen=True)
class Work:
    """A row of the table.

    Args:
        title: What is done.
        wanted: How many times faster than TFRS ours should be; None where only the limit counts.
        limit: How many times reading all candidates once ours may take.
        steps: Of a round.
        is_approximate: Whether answers may miss some of the truth.
    """

    title: str
    wanted: float | None = None
    limit: float | None = None
    steps: int = 10
    is_approximate: bool = False


WORKS = {
    "exact_1": Work("exact top-100 of 1M x 64, batch 1", limit=1.5),
    "exact_32": Work("the same, batch 32", wanted=3, steps=3),
    "excluding_1": Work("exact, 200 excluded a query, batch 1"),
    "excluding_32": Work("the same, batch 32", steps=3),
    "approximate_1": Work("approximate on clusters (TFRS: ScaNN), batch 1", 2, steps=50, is_approximate=True),
    "approximate_32": Work("the same, batch 32", 1.2, steps=20, is_approximate=True),
}


@cache
def truth() -> NDArray[np.int64]:
    """Give the true best rows of the clustered queries, `[queries, 100]`."""
    candidates, queries = clustered()
    parts = np.array_split(queries, 16)
    return np.concatenate([np.argpartition(part @ candidates.T, -K, axis=1)[:, -K:] for part in parts])


def recall(found: NDArray[np.int64]) -> float:
    """Give which part of the true best was found."""
    return float(np.mean([np.isin(true, rows).mean() for true, rows in zip(truth(), found, strict=True)]))


def measure(name: str, rounds: int) -> Figures:
    """Run one work on both sides."""
    work = WORKS[name]
    recalls: dict[str, float | None] = {"ours_recall": None, "tfrs_recall": None}
    with ExitStack() as stack:
        found = Path(stack.enter_context(TemporaryDirectory()))
        os.environ["INDEX_FOUND"] = str(found)
        ours = stack.enter_context(Side("ours.index", name))
        peer = stack.enter_context(Side("peers.index_tfrs", name, peer_python()))
        sides = [(ours, work.steps), (peer, work.steps)]
        limit = None
        if work.limit is not None:
            limit = stack.enter_context(Side("ours.index", "read"))
            sides.append((limit, work.steps))
        if work.is_approximate:
            recalls = {f"{key}_recall": recall(np.load(found / f"{key}.npy")) for key in ("ours", "tfrs")}
        take_turns(sides, rounds)
    return {
        "work": name,
        "title": work.title,
        "ours_seconds": ours.median,
        "tfrs_seconds": peer.median,
        "ratio": peer.median / ours.median,
        "wanted": work.wanted,
        "of_limit": None if limit is None else ours.median / limit.median,
        "limit": work.limit,
        "ours_bytes": ours.peak_bytes,
        "tfrs_bytes": peer.peak_bytes,
        **recalls,
    }


def row(figures: Figures) -> str:
    """Give a row of the table."""
    f = {key: value for key, value in figures.items() if value is not None}
    times = f"{f['ours_seconds'] * 1e3:.2f} | {f['tfrs_seconds'] * 1e3:.2f}"
    wanted = f"{f['wanted']:g}" if "wanted" in f else ""
    limit = f"{f['of_limit']:.2f} (at most {f['limit']})" if "of_limit" in f else ""
    recalls = f"{f['ours_recall']:.4f} | {f['tfrs_recall']:.4f}" if "ours_recall" in f else "exact | exact"
    return f"| {f['title']} | {times} | {f['ratio']:.1f} | {wanted} | {limit} | {recalls} |"


HEADER = "| search | ours, ms | TFRS, ms | ratio | to reach | of reading once | recall: ours | TFRS |"

if __name__ == "__main__":
    print_table(__doc__, WORKS, HEADER, measure, row, rounds=9)
