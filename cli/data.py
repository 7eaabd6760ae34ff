"""torchtowers data: named data sets."""

import argparse
from typing import Any

from torchtowers.cli.console import add_command, log

_EXAMPLES = """
torchtowers data fetch movielens-100k
XDG_CACHE_HOME=/big/disk torchtowers data fetch movielens-100k
"""


def add(commands: Any) -> None:
    """Add the command."""
    data = add_command(commands, "data", "bring data onto this machine", _EXAMPLES)
    verbs = data.add_subparsers(dest="verb", required=True, metavar="VERB")
    summary = "fetch a named data set into the user's cache folder, verified by its checksum"
    fetch = add_command(verbs, "fetch", summary, _EXAMPLES)
    fetch.add_argument("name", help="movielens-100k")
    fetch.set_defaults(run=_fetch)


def _fetch(arguments: argparse.Namespace) -> int:
    from torchtowers.data.fetch import fetch

    print(fetch(arguments.name, log=log))
    return 0
