"""torchtowers evaluate: a run's figures on its test split, or on data given later."""

import argparse
from pathlib import Path
from typing import Any

from torchtowers.cli.console import add_command, log, print_metrics

_EXAMPLES = """
torchtowers evaluate runs/movielens
torchtowers evaluate runs/movielens --json
torchtowers evaluate runs/movielens --on next-week.parquet
"""


def add(commands: Any) -> None:
    """Add the command."""
    parser = add_command(commands, "evaluate", "evaluate a run beside the baselines", _EXAMPLES)
    parser.add_argument("directory", type=Path, metavar="RUN", help="the run directory")
    parser.add_argument(
        "--on",
        metavar="PATH",
        help="interactions to test on in place of the run's test split: a file, a folder or a pattern, with "
        "the same columns; the run is left as it is",
    )
    parser.add_argument("--json", action="store_true", help="print all figures as JSON")
    parser.set_defaults(run=_evaluate)


def _evaluate(arguments: argparse.Namespace) -> int:
    from torchtowers.models.experiment import evaluate_run
    from torchtowers.models.later_evaluation import evaluate_on

    if arguments.on is None:
        metrics = evaluate_run(arguments.directory, log=log)
    else:
        metrics = evaluate_on(arguments.directory, arguments.on, log=log)
    print_metrics(metrics, as_json=arguments.json)
    return 0
