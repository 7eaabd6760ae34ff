"""torchtowers export: from a run to a verified artifact."""

import argparse
from pathlib import Path
from typing import Any

from torchtowers.cli.console import add_command, log, print_json, print_table

_EXAMPLES = """
torchtowers export runs/movielens --out artifacts/movielens
torchtowers export runs/movielens --out artifacts/movielens --format onnx
"""


def add(commands: Any) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "export",
        "export a run's towers and index, and verify them against the trained model",
        _EXAMPLES,
    )
    parser.add_argument("directory", type=Path, metavar="RUN", help="the run directory")
    parser.add_argument("--out", type=Path, required=True, help="the artifact directory")
    parser.add_argument(
        "--format",
        action="append",
        choices=("torchscript", "onnx"),
        help="may be given several times; by default both",
    )
    parser.add_argument(
        "--no-lookup",
        action="store_true",
        help="keep no known users' features in the artifact; what a request leaves out is then missing",
    )
    parser.add_argument("--json", action="store_true", help="print the comparisons for machines")
    parser.set_defaults(run=_export)


def _export(arguments: argparse.Namespace) -> int:
    from torchtowers.export.artifact import export_artifact
    from torchtowers.models.experiment import open_run

    comparisons = export_artifact(
        open_run(arguments.directory, log=log),
        arguments.out,
        arguments.format or ("torchscript", "onnx"),
        lookup=not arguments.no_lookup,
        log=log,
    )
    if arguments.json:
        print_json([vars(comparison) for comparison in comparisons])
    else:
        rows = [[c.runtime, c.compared, str(c.batch), f"{c.difference:.1e}"] for c in comparisons]
        print_table(["runtime", "compared", "batch", "largest difference"], rows)
    log(f"{arguments.out} is exported and equal to the trained model")
    return 0
