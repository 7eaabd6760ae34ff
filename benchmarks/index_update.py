#!/usr/bin/env python
"""Time a new index for an artifact, from a file of items, and its memory.

The artifact is of a made-up shop of 2,000 items, with embeddings of 64 numbers; the file has 1,000,000. Each
round is a process of its own. Printed are the median's items a second, the largest anonymous memory beyond
what the process had before, and the largest of all its memory, maps of files included. The files take 2 GB in
the temporary directory ($TMPDIR).

    benchmarks/index_update.py                all works, 3 rounds; some ten minutes
    benchmarks/index_update.py --work new --rounds 1
"""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import median
from tempfile import mkdtemp

import polars as pl
from side import HERE
from table import Figures, print_table

from torchtowers.data import make_shop
from torchtowers.export import export_artifact
from torchtowers.models.config import parse_config
from torchtowers.models.experiment import train

ITEMS = int(os.environ.get("INDEX_ITEMS", "1_000_000"))

CONFIG = {
    "data": {"interactions": "given", "rating": "rating", "columns": ["title", "price"]},
    "features": {
        "user": {"user_id": {"kind": "token"}},
        "item": {
            "item_id": {"kind": "token"},
            "title": {"kind": "words"},
            "category": {"kind": "token"},
            "brand": {"kind": "hashed_token", "buckets": 128},
            "price": {"kind": "number", "transform": "log"},
            "released": {"kind": "timestamp"},
            "tags": {"kind": "token_list", "max_length": 8},
        },
    },
    "model": {"kind": "two_tower", "embedding_dim": 32, "candidate_hidden": [128], "dim": 64},
    "training": {"epochs": 1, "threads": 1},
}


@dataclass(frozen=True)
class Work:
    """A row of the table.

    Args:
        title: What is done.
        items: The file of `folder()`.
        artifact: The artifact of `folder()`.
        options: Of `ours.index_update`.
    """

    title: str
    items: str = "items.parquet"
    artifact: str = "artifact"
    options: tuple[str, ...] = ()


WORKS = {
    "new": Work("Parquet into an artifact of 2,000 items"),
    "csv": Work("the same from CSV", items="items.csv"),
    "quarter": Work("a quarter of the items", items="quarter.parquet"),
    "again": Work("Parquet into an artifact that has these items", artifact="new"),
    "add": Work("a quarter added to an artifact that has all", "quarter.parquet", "new", ("--add",)),
}


@cache
def folder() -> Path:
    """Make the artifacts and the files, and give the folder that they are in."""
    place = Path(mkdtemp(prefix="index-benchmark-"))
    shop = make_shop(rows=20_000, users=2_000, items=2_000)
    trained = train(parse_config(CONFIG), place / "run", tables=shop)
    export_artifact(trained, place / "artifact", ("onnx",))
    more = shop.items.sample(ITEMS - len(shop.items), with_replacement=True, seed=1)
    named = more.with_columns(item_id=pl.format("p{}", pl.int_range(len(shop.items), ITEMS)))
    items = pl.concat([shop.items, named])
    items.write_parquet(place / "items.parquet")
    items.head(ITEMS // 4).write_parquet(place / "quarter.parquet")
    flat = items.select(column for column, kind in items.schema.items() if not isinstance(kind, pl.List))
    flat.with_columns(items["tags"].list.join("|")).write_csv(place / "items.csv")
    _run(place, Work("", "items.parquet"), "new")
    return place


def _run(place: Path, work: Work, out: str) -> Figures:
    """Make an index in a process of its own, and give what it measured."""
    paths = [str(place / name) for name in (work.artifact, work.items, out)]
    command = [sys.executable, "-m", "ours.index_update", *paths, *work.options]
    done = subprocess.run(command, cwd=HERE, check=True, stdout=subprocess.PIPE, text=True)
    answer: Figures = json.loads(done.stdout)
    return answer


def measure(name: str, rounds: int) -> Figures:
    """Run one work."""
    answers = [_run(folder(), WORKS[name], "out") for _ in range(rounds)]
    seconds = median(answer["seconds"] for answer in answers)
    return {
        "work": name,
        "title": WORKS[name].title,
        "items": answers[0]["embedded"],
        "index": answers[0]["items"],
        "seconds": seconds,
        "items_per_second": answers[0]["embedded"] / seconds,
        "anonymous_bytes": max(answer["anonymous_bytes"] for answer in answers),
        "resident_bytes": max(answer["resident_bytes"] for answer in answers),
    }


def row(figures: Figures) -> str:
    """Give a row of the table."""
    f = figures
    counts = f"{f['items']:,} | {f['index']:,} | {f['items_per_second']:,.0f}"
    return (
        f"| {f['title']} | {counts} | {f['anonymous_bytes'] / 1e6:,.0f} | {f['resident_bytes'] / 1e6:,.0f} |"
    )


HEADER = "| work | items of the file | of the index | items/s | anonymous memory, MB | all memory, MB |"

if __name__ == "__main__":
    try:
        print_table(__doc__, WORKS, HEADER, measure, row, rounds=3)
    finally:
        if folder.cache_info().currsize:
            shutil.rmtree(folder())
