"""What commands print: results to standard output, progress and errors to standard error."""

import argparse
import json
import sys
from collections.abc import Collection, Mapping, Sequence
from typing import Any

__all__ = ["add_command", "log", "print_error", "print_json", "print_metrics", "print_table"]


def add_command(commands: Any, name: str, summary: str, examples: str) -> argparse.ArgumentParser:
    """Add a command whose `--help` ends in examples."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog="examples:\n" + "".join(f"  {line}\n" for line in examples.strip().splitlines()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    return parser


def log(line: str) -> None:
    """Tell a person what is done."""
    print(line, file=sys.stderr, flush=True)


def print_error(line: str) -> None:
    """Tell a person what went wrong, in one line."""
    print(f"torchtowers: {' '.join(line.split())}", file=sys.stderr, flush=True)


def print_json(value: Any) -> None:
    """Print a result for machines."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]], left: Collection[int] = (0,)) -> None:
    """Print a result for people; the columns at the places `left` to the left, the others to the right."""
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    for row in (header, *rows):
        cells = [
            cell.ljust(width) if place in left else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        print("  ".join(cells).rstrip())


def print_metrics(metrics: Mapping[str, Any], *, as_json: bool) -> None:
    """Print a run's figures of the test part beside the baselines', a line each."""
    if as_json:
        print_json(metrics)
        return
    test, baselines = metrics["test"], metrics["baselines"]
    # Those with seen items included are in metrics.json.
    rows = [
        [name, *("" if name not in of else f"{of[name]:.4f}" for of in (test, *baselines.values()))]
        for name in test
        if not name.endswith("/seen_included")
    ]
    print_table(["test", "model", *baselines], rows)
