"""torchtowers status: what is served, since when, and what a rollback would bring."""

import argparse
from pathlib import Path
from typing import Any

from torchtowers.cli.console import add_command, log, print_json, print_table


def add(commands: Any) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "status",
        "tell which versions are served, and what a rollback would bring",
        "torchtowers status\ntorchtowers status movielens --json",
    )
    parser.add_argument("name", nargs="?", help="the model's name (all)")
    parser.add_argument("--state", type=Path, help="the server's state folder, as for serve start")
    parser.add_argument("--json", action="store_true", help="print the result for machines")
    parser.set_defaults(run=_status)


def _status(arguments: argparse.Namespace) -> int:
    from torchtowers.serving import rollout_status

    told = rollout_status(arguments.name, state=arguments.state)
    if arguments.json:
        print_json([vars(version) for version in told])
    else:
        rows = [
            [
                version.name,
                version.version,
                "default" if version.default else "",
                f"{version.ready}/{version.wanted}",
                str(version.waiting),
                version.archive,
                version.deployed or "",
                version.rollback or "",
            ]
            for version in told
        ]
        header = ["model", "version", "", "ready", "waiting", "archive", "deployed", "rollback to"]
        print_table(header, rows, left=(0, 1, 2, 5, 6, 7))
    ready = all(version.ready >= version.wanted for version in told)
    if not ready:
        log("not every worker is ready")
    return 0 if ready else 1
