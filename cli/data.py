"""torchtowers data: named data sets, and what files hold."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torchtowers.cli.console import add_command, log, print_json
from torchtowers.cli.description import print_description

if TYPE_CHECKING:
    from torchtowers.data.roles import Role

_EXAMPLES = """
torchtowers data fetch movielens-100k
XDG_CACHE_HOME=/big/disk torchtowers data fetch movielens-100k
"""
_DESCRIBE_EXAMPLES = """
torchtowers data describe interactions.parquet
torchtowers data describe logs/ --users users.csv --items items.parquet --write my.yaml
torchtowers data describe 'logs/2024-*.csv.gz' --json
torchtowers data describe plays.csv --user-id who --item-id what --timestamp at --rating stars --write my.yaml
torchtowers train my.yaml --out runs/my
"""

_ROLES: dict[str, tuple[Role, str]] = {
    "--user-id": ("user id", "the interactions' column of the users' ids"),
    "--item-id": ("item id", "the interactions' column of the items' ids"),
    "--timestamp": ("time", "their column of times"),
    "--rating": ("label", "their column of labels"),
}


def add(commands: Any) -> None:
    """Add the command."""
    examples = _EXAMPLES + _DESCRIBE_EXAMPLES.lstrip()
    data = add_command(commands, "data", "bring data onto this machine, and look at it", examples)
    verbs = data.add_subparsers(dest="verb", required=True, metavar="VERB")
    summary = "fetch a named data set into the user's cache folder, verified by its checksum"
    fetch = add_command(verbs, "fetch", summary, _EXAMPLES)
    fetch.add_argument("name", help="movielens-100k")
    fetch.set_defaults(run=_fetch)
    summary = "show what files hold and what is wrong in them, and write a configuration to begin with"
    describe = add_command(verbs, "describe", summary, _DESCRIBE_EXAMPLES)
    describe.add_argument("interactions", metavar="PATH", help="a file, a folder of shards or a pattern")
    describe.add_argument("--users", metavar="PATH", help="the users, a row each")
    describe.add_argument("--items", metavar="PATH", help="the items, a row each")
    for option, (_, text) in _ROLES.items():
        describe.add_argument(option, metavar="COL", help=f"{text}, where it is not to be guessed")
    describe.add_argument("--write", type=Path, metavar="CONFIG.yaml", help="write a configuration to train")
    describe.add_argument("--json", action="store_true", help="print it for machines")
    describe.set_defaults(run=_describe)


def _fetch(arguments: argparse.Namespace) -> int:
    from torchtowers.data.fetch import fetch

    print(fetch(arguments.name, log=log))
    return 0


def _describe(arguments: argparse.Namespace) -> int:
    from torchtowers.data.describe import describe
    from torchtowers.data.starting_config import write_starting_config

    given = {
        role: getattr(arguments, option.removeprefix("--").replace("-", "_"))
        for option, (role, _) in _ROLES.items()
    }
    named: dict[Role, str] = {role: name for role, name in given.items() if name is not None}
    found = describe(arguments.interactions, arguments.users, arguments.items, log, named)
    if arguments.write is not None:
        write_starting_config(found, arguments.write)
    if arguments.json:
        print_json(found.to_dict())
    else:
        print_description(found)
    if arguments.write is not None:
        log(f"wrote {arguments.write}: look through it, then torchtowers train {arguments.write} --out RUN")
    return 0
