#!/usr/bin/env python
"""Time training and evaluation beside the real TFRS, on the same work in one run.

Each side is a process of its own; they run by turns, so that what else the machine does falls on both.
Printed are medians over the rounds, their ratio, and how near both come to the time that a step's matrix
products take alone. The first call makes benchmarks/.peer (2 GB).

    benchmarks/train.py                       all works, 7 rounds; some ten minutes
    benchmarks/train.py --work dlrm --rounds 3
    benchmarks/train.py --json > train.json
"""

from contextlib import ExitStack
from dataclasses import dataclass

from side import Side, peer_python, take_turns
from table import Figures, print_table


@dataclass(frozen=True)
class Work:
    """A row of the table.

    Args:
        title: What is done.
        examples: Of a step.
        peer: The work's name on TFRS's side.
        wanted: How many times faster than TFRS ours should be.
        products: Ours that does nothing but the matrix products of a step.
        limit: How many times their seconds ours may take.
        steps: Of a round.
    """

    title: str
    examples: int
    peer: str
    wanted: float | None = None
    products: str | None = None
    limit: float | None = None
    steps: int = 5


WORKS = {
    "adagrad": Work(
        "in-batch softmax, 1M users x 200k items, dim 64, batch 4096, Adagrad",
        4096,
        "adagrad",
        2.3,
        "products",
        1.6,
    ),
    "adam": Work("the same, Adam (ours: rows of the batch only)", 4096, "adam", 15, "products", steps=3),
    "tutorial": Work(
        "ML-100K tutorial's sizes, dim 32, batch 8192", 8192, "tutorial", 5, "tutorial_products", steps=3
    ),
    "evaluation": Work(
        "FactorizedTopK, 20k queries, by score (TFRS: streaming)", 20_000, "evaluation", 30, steps=2
    ),
    "evaluation_by_id": Work(
        "the same, by id (TFRS: brute force)", 20_000, "evaluation_brute_force", steps=2
    ),
    "dlrm": Work(
        "DLRM, 26 features x 100k rows x dim 16, 13 numbers, batch 4096", 4096, "dlrm", 2, "dlrm_products"
    ),
    "dcn": Work("DCN, the same with three cross layers", 4096, "dcn", 2, "dcn_products"),
}


def measure(name: str, rounds: int) -> Figures:
    """Run one work on both sides."""
    work = WORKS[name]
    with ExitStack() as stack:
        ours = stack.enter_context(Side("ours.train", name))
        peer = stack.enter_context(Side("peers.train_tfrs", work.peer, peer_python()))
        sides = [(ours, work.steps), (peer, work.steps)]
        products = None
        if work.products is not None:
            products = stack.enter_context(Side("ours.train", work.products))
            sides.append((products, work.steps))
        take_turns(sides, rounds)
    return {
        "work": name,
        "title": work.title,
        "ours_per_second": work.examples / ours.median,
        "tfrs_per_second": work.examples / peer.median,
        "ratio": peer.median / ours.median,
        "wanted": work.wanted,
        "ours_bytes": ours.peak_bytes,
        "tfrs_bytes": peer.peak_bytes,
        "of_products": None if products is None else ours.median / products.median,
        "tfrs_of_products": None if products is None else peer.median / products.median,
        "limit": work.limit,
    }


def row(figures: Figures) -> str:
    """Give a row of the table."""
    f = figures
    speeds = f"{f['ours_per_second']:,.0f} | {f['tfrs_per_second']:,.0f} | {f['ratio']:.1f}"
    wanted = "" if f["wanted"] is None else f"{f['wanted']:g}"
    products = "" if f["of_products"] is None else f"{f['of_products']:.2f}"
    products += "" if f["limit"] is None else f" (at most {f['limit']:g})"
    theirs = "" if f["of_products"] is None else f"{f['tfrs_of_products']:.2f}"
    memory = f"{f['ours_bytes'] / 1e9:.2f} | {f['tfrs_bytes'] / 1e9:.2f}"
    return f"| {f['title']} | {speeds} | {wanted} | {products} | {theirs} | {memory} |"


HEADER = (
    "| work | ours, examples/s | TFRS | ratio | to reach | ours / its matrix products | TFRS / these "
    "| ours, GB | TFRS, GB |"
)

if __name__ == "__main__":
    print_table(__doc__, WORKS, HEADER, measure, row, rounds=7)
