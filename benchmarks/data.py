#!/usr/bin/env python
"""Time the way from files of interactions to batches, and its memory.

Each round is a process of its own. Printed are the median's rows a second, and the largest anonymous memory
beyond what the process had before: it should be the same whatever the number of rows. The files are made at
the first call, 2.5 GB in benchmarks/.data.

    benchmarks/data.py                        all works, 3 rounds; some five minutes
    benchmarks/data.py --work encode_csv --rounds 1
"""

import json
import subprocess
import sys
from dataclasses import dataclass
from statistics import median

from interactions import write_interactions
from side import HERE
from table import Figures, print_table


@dataclass(frozen=True)
class Work:
    """A row of the table.

    Args:
        title: What is done.
        name: The work in `ours.data`.
        file: The kind of file.
        millions: Of interactions.
        wanted: What is to be reached.
    """

    title: str
    name: str
    file: str
    millions: int
    wanted: str = ""


WORKS = {
    "encode_csv": Work("CSV to rows of users and items", "encode", "csv", 10, "2,000,000 rows/s"),
    "encode_parquet": Work("Parquet to rows of users and items", "encode", "parquet", 10, "2,000,000 rows/s"),
    "prepare_10": Work("Parquet to split parts and histories", "prepare", "parquet", 10),
    "prepare_40": Work("the same, four times the rows", "prepare", "parquet", 40, "the memory of 10M"),
    "wait": Work("training, batches of 1024", "wait", "parquet", 10, "waiting under 5 %"),
}


def measure(name: str, rounds: int) -> Figures:
    """Run one work."""
    work = WORKS[name]
    folder = HERE / ".data"
    folder.mkdir(exist_ok=True)
    path = folder / f"{work.millions}m.{work.file}"
    write_interactions(path, work.millions * 1_000_000)
    command = [sys.executable, "-m", "ours.data", work.name, str(path)]
    answers = [
        json.loads(subprocess.run(command, cwd=HERE, check=True, stdout=subprocess.PIPE, text=True).stdout)
        for _ in range(rounds)
    ]
    seconds = median(answer["seconds"] for answer in answers)
    waits = [answer["waited"] / answer["seconds"] for answer in answers if "waited" in answer]
    return {
        "work": name,
        "title": work.title,
        "rows": answers[0]["rows"],
        "rows_per_second": answers[0]["rows"] / seconds,
        "anonymous_bytes": max(answer.get("anonymous_bytes", 0) for answer in answers),
        "waited": median(waits) if waits else None,
        "wanted": work.wanted,
    }


def row(figures: Figures) -> str:
    """Give a row of the table."""
    f = figures
    memory = f"{f['anonymous_bytes'] / 1e6:,.0f}" if f["anonymous_bytes"] else ""
    waited = "" if f["waited"] is None else f"{f['waited']:.1%}"
    speed = f"{f['rows']:,} | {f['rows_per_second']:,.0f}"
    return f"| {f['title']} | {speed} | {memory} | {waited} | {f['wanted']} |"


HEADER = "| work | rows | rows/s | anonymous memory, MB | waiting for batches | to reach |"

if __name__ == "__main__":
    print_table(__doc__, WORKS, HEADER, measure, row, rounds=3)
