#!/usr/bin/env python
"""Time requests to two stages in one archive, as TorchServe answers them over one connection.

Both models are of a made-up shop of 1,000,000 items, known to both by id, category, brand, price, time and
tags. A request names a user; 500 items are found by the index's exact scan and ranked, 10 are answered. One
worker serves the ONNX archive. Printed are milliseconds over REST, and those of the handler alone, without a
server. The files take 8 GB in the temporary directory ($TMPDIR).

    benchmarks/two_stage.py                all works, 200 requests each; some five minutes, most to export
    benchmarks/two_stage.py --work threads_2 --rounds 50
"""

import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
import polars as pl
from side import HERE
from table import Figures, print_table

from torchtowers.data import make_shop
from torchtowers.data.dataset import prepare
from torchtowers.data.tables import Tables
from torchtowers.export import ServingConfig, build_archive, combine_artifacts, export_artifact, export_index
from torchtowers.export.precision import Precision
from torchtowers.handlers import TwoStageRecommender
from torchtowers.handlers.execution import Execution
from torchtowers.models.config import parse_config
from torchtowers.models.experiment import Trained, build_model
from torchtowers.models.run import Run
from torchtowers.serving import Client, start, stop

ITEMS = int(os.environ.get("TWO_STAGE_ITEMS", "1_000_000"))
USERS = 2_000

FEATURES: Mapping[str, Any] = {
    "user": {"user_id": {"kind": "token"}, "history": {"kind": "history", "max_length": 20}},
    "item": {
        "item_id": {"kind": "token"},
        "category": {"kind": "token"},
        "brand": {"kind": "hashed_token", "buckets": 128},
        "price": {"kind": "number", "transform": "log"},
        "released": {"kind": "timestamp"},
        "tags": {"kind": "token_list", "max_length": 8},
    },
}
MODELS: Mapping[str, Mapping[str, Any]] = {
    "retrieval": {"kind": "two_tower", "embedding_dim": 16, "candidate_hidden": [64], "dim": 64},
    "ranking": {"kind": "ranking", "embedding_dim": 16, "hidden": [128, 64]},
}


@dataclass(frozen=True)
class Work:
    """A row of the table.

    Args:
        title: What is done.
        candidates: Items that are ranked.
        threads: Of the worker.
        rows: Users of a request.
        index: What the found items' embeddings are kept as; int8 is scored again as float32.
    """

    title: str
    candidates: int = 500
    threads: int = 1
    rows: int = 1
    index: str = "float32"


WORKS = {
    "threads_1": Work("500 ranked, one thread"),
    "threads_2": Work("500 ranked, two threads", threads=2),
    "int8": Work("500 ranked, one thread, int8 index scored again", index="int8"),
    "int8_threads_2": Work("500 ranked, two threads, int8 index scored again", threads=2, index="int8"),
    "few": Work("100 ranked, one thread", candidates=100),
    "rows": Work("500 ranked of each of 8 users, one thread", rows=8),
}


@cache
def folder() -> Path:
    """Give the folder of all files."""
    return Path(mkdtemp(prefix="two-stage-benchmark-"))


@cache
def both(index: str) -> Path:
    """Export and combine both models, the index as `index`, and give the artifact."""
    place = folder() / index
    place.mkdir()
    shop, wide = _shops()
    # Of an untrained model even equal scores change places, so that no loss says anything here.
    precision = Precision(index=index, rescore=index == "int8", max_loss=1)
    # The larger index is made of the smaller model, whose answers are verified sooner.
    export_artifact(_untrained("retrieval", shop), place / "small", ("onnx",), precision=precision)
    wide.items.write_parquet(place / "items.parquet")
    export_index(place / "small", place / "items.parquet", place / "retrieval")
    export_artifact(_untrained("ranking", wide), place / "ranking", ("onnx",))
    combine_artifacts(place / "retrieval", place / "ranking", place / "both")
    return place / "both"


def _untrained(kind: str, shop: Tables) -> Trained:
    """Give a model with the weights that it begins with, which takes as long to answer as a trained one."""
    config = parse_config(
        {
            "data": {"interactions": "given", "rating": "rating", "columns": ["title"]},
            "features": FEATURES,
            "model": MODELS[kind],
        }
    )
    dataset = prepare(shop, config.data, config.split, config.features)
    return Trained(Run(Path("unused")), config, dataset, build_model(config, dataset), False)


def _shops() -> tuple[Tables, Tables]:
    """Make a shop, and one of the same users with all items."""
    shop = make_shop(rows=20_000, users=USERS, items=min(ITEMS, 2_000))
    more = shop.items.sample(ITEMS - len(shop.items), with_replacement=True, seed=1)
    named = more.with_columns(item_id=pl.format("p{}", pl.int_range(len(shop.items), ITEMS)))
    return shop, Tables(shop.interactions, shop.users, pl.concat([shop.items, named]))


def measure(name: str, rounds: int) -> Figures:
    """Run one work."""
    work, place = WORKS[name], folder()
    artifact = both(work.index)
    config = ServingConfig(threads=work.threads, candidates=work.candidates)
    store = place / name
    build_archive(artifact, name="both", export_path=store, config=config)
    bodies = [_body(work, number) for number in range(rounds + 3)]
    start(store, config=HERE.parent / "config.properties", state=place / "state", timeout=600)
    try:
        with Client.from_state(place / "state") as client:
            served = _times(lambda body: client.predict("both", body), bodies)
    finally:
        stop(place / "state")
    alone = TwoStageRecommender.load(artifact, runtime="onnx", execution=Execution(threads=work.threads))
    handled = _times(lambda body: alone.recommend({**body, "candidates": work.candidates}), bodies)
    return {
        "work": name,
        "title": work.title,
        "items": ITEMS,
        **{
            f"{what}_p{part}_ms": float(np.percentile(times, part))
            for what, times in (("served", served), ("handled", handled))
            for part in (50, 95)
        },
    }


def _body(work: Work, number: int) -> dict[str, Any]:
    users = [{"user_id": f"u{(number * work.rows + place) % USERS}"} for place in range(work.rows)]
    return {"instances": users} if work.rows > 1 else users[0]


def _times(ask: Callable[[dict[str, Any]], Any], bodies: list[dict[str, Any]]) -> list[float]:
    """Give milliseconds; the first requests are slower everywhere and left out."""
    times = []
    for body in bodies:
        begin = time.perf_counter()
        ask(body)
        times.append((time.perf_counter() - begin) * 1000)
    return times[3:]


def row(figures: Figures) -> str:
    """Give a row of the table."""
    f = figures
    served = f"{f['served_p50_ms']:.1f} | {f['served_p95_ms']:.1f}"
    return f"| {f['title']} | {served} | {f['handled_p50_ms']:.1f} | {f['handled_p95_ms']:.1f} |"


HEADER = "| work | REST, p50 ms | p95 | handler alone, p50 ms | p95 |"

if __name__ == "__main__":
    try:
        print_table(__doc__, WORKS, HEADER, measure, row, rounds=200)
    finally:
        if folder.cache_info().currsize:
            shutil.rmtree(folder())
