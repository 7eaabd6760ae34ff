"""Reading, encoding and feeding interactions; the works of benchmarks/data.py.

    python -m ours.data encode|prepare|wait FILE

Prints a line of JSON.
"""

import json
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any

import torch
from ours.memory import Peak

from torchtowers.data.batches import Batch, Batches
from torchtowers.data.dataset import Dataset, prepare
from torchtowers.data.ingestion import ingest
from torchtowers.data.readers import scan_table
from torchtowers.data.tables import Tables
from torchtowers.models.config import parse_config
from torchtowers.models.experiment import build_model
from torchtowers.models.run import Run
from torchtowers.models.training import fit

# The sizes of configs/movielens-retrieval.yaml, with the features that these interactions have.
CONFIG = parse_config(
    {
        "data": {"interactions": "given", "rating": "rating", "timestamp": "timestamp"},
        "split": {"kind": "time", "test_fraction": 0.1, "validation_fraction": 0.1},
        "features": {
            "user": {"user_id": {"kind": "token"}, "history": {"kind": "history", "max_length": 100}},
            "item": {"item_id": {"kind": "token"}},
        },
        "model": {
            "kind": "two_tower",
            "embedding_dim": 64,
            "query_hidden": [256],
            "candidate_hidden": [256],
            "dim": 64,
            "temperature": 0.2,
        },
        "training": {"epochs": 1, "batch_size": 1024, "threads": 1},
    }
)


def tables(path: str) -> Tables:
    """Give the interactions, not read yet."""
    return Tables(scan_table(path, ("user_id", "item_id")))


def encode(path: str) -> dict[str, float]:
    """From the file to rows of users and items."""
    started = time.perf_counter()
    with Peak() as peak:
        found = ingest(tables(path), CONFIG.data, CONFIG.split, {})
    seconds = time.perf_counter() - started
    return {"rows": len(found.pairs), "seconds": seconds, "anonymous_bytes": peak.bytes}


def prepared(path: str) -> Dataset:
    """From the file to what a model is trained on."""
    return prepare(tables(path), CONFIG.data, CONFIG.split, CONFIG.features)


def whole(path: str) -> dict[str, float]:
    """The same, timed."""
    started = time.perf_counter()
    with Peak() as peak:
        dataset = prepared(path)
    rows = len(dataset.train) + len(dataset.validation) + len(dataset.test)
    return {"rows": rows, "seconds": time.perf_counter() - started, "anonymous_bytes": peak.bytes}


class Waited:
    """The first batches of an epoch, and how long training waits for them."""

    def __init__(self, batches: Batches, count: int) -> None:
        self.seconds = 0.0
        self.batch_size = batches.batch_size
        self._batches = batches
        self._count = count

    def __len__(self) -> int:
        return self._count

    def epoch(self, number: int, first: int = 0) -> Iterator[Batch]:
        """Give the batches."""
        stream = self._batches.epoch(number, first)
        for _ in range(self._count - first):
            started = time.perf_counter()
            batch = next(stream)
            self.seconds += time.perf_counter() - started
            yield batch


def wait(path: str) -> dict[str, float]:
    """Train for some steps."""
    dataset = prepared(path)
    torch.manual_seed(1)
    model = build_model(CONFIG, dataset)
    batches = Waited(Batches(dataset, CONFIG.training.batch_size, CONFIG.training.seed), 100)
    with tempfile.TemporaryDirectory() as folder:
        run = Run(folder)
        started = time.perf_counter()
        fit(model, batches, CONFIG.training, run, show_progress=False)
    return {
        "rows": 100 * batches.batch_size,
        "seconds": time.perf_counter() - started,
        "waited": batches.seconds,
    }


WORKS: dict[str, Any] = {"encode": encode, "prepare": whole, "wait": wait}

if __name__ == "__main__":
    print(json.dumps(WORKS[sys.argv[1]](sys.argv[2])))
