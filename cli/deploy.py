"""torchtowers deploy: put a new version of a model in the running one's place."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torchtowers.cli.console import add_command, log, print_json

if TYPE_CHECKING:
    from torchtowers.serving import Deployment

_EXAMPLES = """
torchtowers deploy movielens-2.0.mar
torchtowers deploy movielens-2.0.mar --golden requests.jsonl --min-overlap 0.5
torchtowers rollback movielens
"""


def add(commands: Any) -> None:
    """Add the command."""
    parser = add_command(
        commands, "deploy", "put a new version in the running one's place, or leave all as it was", _EXAMPLES
    )
    parser.add_argument("file", type=Path, metavar="ARCHIVE", help="a .mar or a .tar.gz")
    parser.add_argument("--workers", type=int, metavar="N", help="processes that answer (the archive's own)")
    parser.add_argument(
        "--golden",
        type=Path,
        metavar="FILE",
        help="requests that it has to answer before it gets any, one JSON object a line: the body, or "
        '{"request": BODY, "answer": ANSWER}',
    )
    parser.add_argument(
        "--min-overlap",
        type=float,
        metavar="SHARE",
        help="refuse it where fewer of the items are the old version's, 0 to 1",
    )
    parser.add_argument(
        "--max-difference",
        type=float,
        metavar="X",
        help="refuse it where an item's score differs more from the old version's",
    )
    add_rollout_options(parser)
    parser.set_defaults(run=_deploy)


def add_rollout_options(parser: argparse.ArgumentParser) -> None:
    """Add what every rollout takes."""
    parser.add_argument(
        "--drain",
        type=float,
        default=60.0,
        metavar="SECONDS",
        help="what the old version gets to answer what it was asked; still asked then, it stays (60)",
    )
    parser.add_argument(
        "--timeout", type=float, default=300.0, help="seconds that unpacking and loading may take (300)"
    )
    parser.add_argument("--state", type=Path, help="the server's state folder, as for serve start")
    parser.add_argument("--json", action="store_true", help="print the result for machines")


def print_deployment(done: "Deployment", *, as_json: bool) -> None:
    """Print what a rollout has done."""
    if as_json:
        compared = done.comparison
        print_json(
            {
                "name": done.name,
                "version": done.version,
                "before": done.before,
                "archive": str(done.archive),
                "old_stays": done.old_stays,
                "golden": None if compared is None else vars(compared),
            }
        )
        return
    instead = "" if done.before is None else f" in place of {done.before}"
    print(f"{done.name} {done.version} is served{instead}")


def _deploy(arguments: argparse.Namespace) -> int:
    from torchtowers.serving import deploy

    done = deploy(
        arguments.file,
        state=arguments.state,
        workers=arguments.workers,
        golden=arguments.golden,
        min_overlap=arguments.min_overlap,
        max_difference=arguments.max_difference,
        drain=arguments.drain,
        timeout=arguments.timeout,
        progress=log,
    )
    print_deployment(done, as_json=arguments.json)
    return 0
