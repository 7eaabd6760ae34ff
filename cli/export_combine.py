"""torchtowers export combine: two models into one artifact that answers in two stages."""

import argparse
from pathlib import Path
from typing import Any

from torchtowers.cli.console import add_command, log, print_json
from torchtowers.cli.export import print_comparisons

_EXAMPLES = """
torchtowers export combine artifacts/movielens artifacts/ratings --out artifacts/both
torchtowers export combine artifacts/movielens artifacts/ratings --out artifacts/both --candidates 200
torchtowers archive build artifacts/both --name both
"""


def add(commands: Any) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "export combine",
        "make one artifact of two models: the best by the ranking model of what the retrieval model finds",
        _EXAMPLES,
    )
    parser.add_argument("retrieval", type=Path, metavar="RETRIEVAL", help="the artifact of a retrieval model")
    parser.add_argument("ranking", type=Path, metavar="RANKING", help="the artifact of a ranking model")
    parser.add_argument("--out", type=Path, required=True, help="the new artifact")
    parser.add_argument(
        "--candidates",
        type=int,
        default=500,
        metavar="N",
        help="items that are found and ranked, where neither a request nor the server says how many (500)",
    )
    parser.add_argument("--json", action="store_true", help="print what was put together for machines")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from torchtowers.export.combined import combine_artifacts

    made = combine_artifacts(
        arguments.retrieval, arguments.ranking, arguments.out, candidates=arguments.candidates, log=log
    )
    if arguments.json:
        print_json({**vars(made), "comparisons": [vars(comparison) for comparison in made.comparisons]})
    else:
        print_comparisons(made.comparisons, as_json=False)
    log(
        f"{arguments.out} answers as both models one after the other: {made.items:,} items, of which "
        f"{made.candidates:,} are ranked"
    )
    return 0
