#!/usr/bin/env python
"""Compare an index of float32 embeddings with smaller ones: size, answers, and time of a search.

Candidates are a million of dimension 64 in clusters. Searches run by turns in one process and one thread;
printed are medians over the rounds, their ratio to float32, and which part of the true best 100 is found.

    benchmarks/smaller.py                     9 rounds; some two minutes
    benchmarks/smaller.py --rounds 3 --json > smaller.json
"""

import os

# Before numpy: a second thread of another process would be measured with it.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import time
from collections.abc import Sequence
from statistics import median
from typing import Any

import numpy as np
from index_data import K, clustered
from numpy.typing import NDArray

from torchtowers.cli.console import print_json, print_table
from torchtowers.handlers.index import ExactIndex
from torchtowers.handlers.strings import StringTable
from torchtowers.handlers.vectors import quantized

KINDS = {
    "float32": ("float32", False),
    "float16": ("float16", False),
    "int8": ("int8", False),
    "int8, best scored again": ("int8", True),
}
_BATCHES = (1, 32)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--candidates", type=int, default=1_000_000)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)
    rows = measure(given.candidates, given.rounds)
    if given.json:
        print_json(rows)
    else:
        print_table(list(rows[0]), [[str(value) for value in row.values()] for row in rows])
    return 0


def measure(count: int, rounds: int) -> list[dict[str, Any]]:
    """Search each index by turns.

    Args:
        count: Candidates.
        rounds: How often.
    """
    candidates, queries = clustered()
    candidates = candidates[:count]
    ids = StringTable.of(f'"{row}"' for row in range(len(candidates)))
    indexes = {name: _index(candidates, ids, *kind) for name, kind in KINDS.items()}
    truth = _found(indexes["float32"], queries)
    times: dict[tuple[str, int], list[float]] = {(name, batch): [] for name in KINDS for batch in _BATCHES}
    for turn in range(rounds):
        for (name, batch), seconds in times.items():
            asked = queries[turn % 8 * 32 :][:batch]
            begin = time.perf_counter()
            indexes[name].search(asked, [K] * batch, [np.empty(0, np.int64)] * batch)
            seconds.append(time.perf_counter() - begin)
    medians = {key: median(seconds) for key, seconds in times.items()}
    whole = candidates.nbytes
    return [
        {
            "index": name,
            "scanned": f"{_bytes(index) / whole:.3f}",
            f"recall@{K}": f"{_recall(truth, _found(index, queries)):.4f}",
            **{f"ms, batch {batch}": f"{1000 * medians[name, batch]:.1f}" for batch in _BATCHES},
            **{
                f"ratio, batch {batch}": f"{medians[name, batch] / medians['float32', batch]:.2f}"
                for batch in _BATCHES
            },
        }
        for name, index in indexes.items()
    ]


def _index(candidates: NDArray[np.float32], ids: StringTable, dtype: str, again: bool) -> ExactIndex:
    return ExactIndex(quantized(candidates, dtype), ids, rescoring=candidates if again else None)


def _bytes(index: ExactIndex) -> int:
    scales = index.vectors.scales
    return int(index.vectors.values.nbytes) + (0 if scales is None else scales.nbytes)


def _found(index: ExactIndex, queries: NDArray[np.float32]) -> list[NDArray[np.int64]]:
    chosen = queries[:: max(1, len(queries) // 200)]
    found: list[NDArray[np.int64]] = []
    for first in range(0, len(chosen), 32):
        block = chosen[first : first + 32]
        answers = index.search(block, [K] * len(block), [np.empty(0, np.int64)] * len(block))
        found += [rows for rows, _ in answers]
    return found


def _recall(truth: list[NDArray[np.int64]], found: list[NDArray[np.int64]]) -> float:
    return float(np.mean([np.isin(best, rows).mean() for best, rows in zip(truth, found, strict=True)]))


if __name__ == "__main__":
    raise SystemExit(main())
