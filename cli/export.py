"""torchtowers export: from a run to a verified artifact, and an artifact verified again."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torchtowers.cli.console import add_command, log, print_json, print_table

if TYPE_CHECKING:
    from torchtowers.export.comparison import Comparison

_EXAMPLES = """
torchtowers export runs/movielens --out artifacts/movielens
torchtowers export runs/movielens --out artifacts/movielens --format onnx --fused
torchtowers export runs/movielens --out artifacts/small --weights int8 --index int8
torchtowers export verify artifacts/movielens
torchtowers export index artifacts/movielens --items items.parquet --out artifacts/movielens-today
torchtowers export combine artifacts/movielens artifacts/ratings --out artifacts/both
"""
_VERIFY_EXAMPLES = "torchtowers export verify artifacts/movielens"


def add(commands: Any) -> None:
    """Add the command, and `export verify`."""
    _add_export(commands)
    verify = add_command(
        commands,
        "export verify",
        "compare an artifact with the trained model again; its run is not needed",
        _VERIFY_EXAMPLES,
    )
    verify.add_argument("artifact", type=Path, metavar="ARTIFACT", help="the artifact directory")
    verify.add_argument("--json", action="store_true", help="print the comparisons for machines")
    verify.set_defaults(run=_run_verify)


def _add_export(commands: Any) -> None:
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
        choices=("torchscript", "onnx", "pt2"),
        help="may be given several times; by default torchscript and onnx",
    )
    parser.add_argument(
        "--fused",
        action="store_true",
        help="also one file a format that takes raw values and gives ids and scores",
    )
    parser.add_argument("--opset", type=int, default=18, help="of ONNX files, from 18 on (18)")
    for option, what in (("--weights", "what weights are kept as"), ("--index", "the index's embeddings")):
        parser.add_argument(
            option, choices=("float32", "float16", "int8"), default="float32", help=f"{what} (float32)"
        )
    parser.add_argument(
        "--rescore",
        action="store_true",
        help="with --index int8: keep float32 embeddings on disk, and score the best by them",
    )
    parser.add_argument(
        "--max-loss",
        type=float,
        default=0.05,
        metavar="SHARE",
        help="of the best 10 or 100 that smaller weights or index may lose before the export fails (0.05)",
    )
    parser.add_argument(
        "--no-lookup",
        action="store_true",
        help="keep no known users' features in the artifact; what a request leaves out is then missing",
    )
    parser.add_argument("--json", action="store_true", help="print the comparisons for machines")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    _compare(lambda: _export(arguments, arguments.directory), as_json=arguments.json)
    if arguments.weights == arguments.index == "float32":
        log(f"{arguments.out} is exported and equal to the trained model")
    else:
        log(f"{arguments.out} is exported; what it loses is in its report.json")
    return 0


def _run_verify(arguments: argparse.Namespace) -> int:
    from torchtowers.export.verification import verify_artifact

    _compare(lambda: verify_artifact(arguments.artifact), as_json=arguments.json)
    log(f"{arguments.artifact} answers as the trained model did")
    return 0


def _compare(compare: "Callable[[], Sequence[Comparison]]", *, as_json: bool) -> None:
    """Print what was compared, also where it differs."""
    from torchtowers.export.errors import VerificationError

    try:
        comparisons = compare()
    except VerificationError as error:
        print_comparisons(error.comparisons, as_json=as_json)
        raise
    print_comparisons(comparisons, as_json=as_json)


def _export(arguments: argparse.Namespace, run: Path) -> Sequence["Comparison"]:
    from torchtowers.export.artifact import export_artifact
    from torchtowers.export.precision import Precision
    from torchtowers.models.experiment import open_run

    return export_artifact(
        open_run(run, log=log),
        arguments.out,
        arguments.format or ("torchscript", "onnx"),
        fused=arguments.fused,
        opset=arguments.opset,
        lookup=not arguments.no_lookup,
        precision=Precision(arguments.weights, arguments.index, arguments.rescore, arguments.max_loss),
        log=log,
    )


def print_comparisons(comparisons: Sequence["Comparison"], *, as_json: bool) -> None:
    """Print a table of what was compared, or a list for machines."""
    if as_json:
        print_json([vars(comparison) for comparison in comparisons])
    elif comparisons:
        rows = [[c.runtime, c.compared, str(c.batch), f"{c.difference:.1e}"] for c in comparisons]
        print_table(["runtime", "compared", "batch", "largest difference"], rows)
