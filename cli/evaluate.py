"""torchtowers evaluate: a run's figures over the whole catalogue."""

import argparse
from pathlib import Path
from typing import Any

from torchtowers.cli.console import add_command, log, print_metrics

_EXAMPLES = """
torchtowers evaluate runs/movielens
torchtowers evaluate runs/movielens --json
"""


def add(commands: Any) -> None:
    """Add the command."""
    parser = add_command(
        commands, "evaluate", "evaluate a run on its test split, beside popularity", _EXAMPLES
    )
    parser.add_argument("directory", type=Path, metavar="RUN", help="the run directory")
    parser.add_argument("--json", action="store_true", help="print metrics.json")
    parser.set_defaults(run=_evaluate)


def _evaluate(arguments: argparse.Namespace) -> int:
    from torchtowers.models.experiment import evaluate_run

    print_metrics(evaluate_run(arguments.directory, log=log), as_json=arguments.json)
    return 0
