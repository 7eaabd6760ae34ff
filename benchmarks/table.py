"""A benchmark's command line, and the table that it prints, a row as soon as it is there."""

import argparse
import json
import sys
from collections.abc import Callable, Iterable
from typing import Any

from machine import describe_machine

__all__ = ["Figures", "print_table"]

Figures = dict[str, Any]


def print_table(
    description: str | None,
    works: Iterable[str],
    header: str,
    measure: Callable[[str, int], Figures],
    row: Callable[[Figures], str],
    rounds: int,
) -> None:
    """Measure the works that the command line names, and print them as a table or as JSON.

    Args:
        description: The script's docstring, for `--help`.
        works: Names of all works.
        header: The table's first line.
        measure: Takes a work's name and the number of rounds.
        row: Makes a row of what was measured.
        rounds: Of each side, if the command line does not say.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", choices=works, action="append", help="only this one; may be repeated")
    parser.add_argument("--rounds", type=int, default=rounds, help=f"of each side (default {rounds})")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args()
    if options.rounds < 1:
        parser.error(f"--rounds has to be at least 1, got {options.rounds}")
    if not options.json:
        print(describe_machine(), "", header, "|---" * (header.count("|") - 1) + "|", sep="\n", flush=True)
    measured = []
    for name in options.work or works:
        print(f"measuring {name}", file=sys.stderr)
        measured.append(measure(name, options.rounds))
        if not options.json:
            print(row(measured[-1]), flush=True)
    if options.json:
        print(json.dumps({"machine": describe_machine(), "works": measured}, indent=1))
