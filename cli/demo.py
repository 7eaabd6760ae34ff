"""torchtowers demo: look at a served model in the browser."""

import argparse
from pathlib import Path
from typing import Any

from torchtowers.cli.console import add_command, log

_EXAMPLES = """
torchtowers demo
torchtowers demo movielens --open
torchtowers demo movielens ratings --port 9000
"""


def add(commands: Any) -> None:
    """Add the command."""
    parser = add_command(commands, "demo", "look at served models in the browser", _EXAMPLES)
    parser.add_argument("names", nargs="*", metavar="NAME", help="models to show (all that are served)")
    parser.add_argument("--port", type=int, default=8090, help="on 127.0.0.1; 0 takes a free one (8090)")
    parser.add_argument("--open", action="store_true", help="open the page in the browser")
    parser.add_argument("--state", type=Path, help="the server's state folder, as for serve start")
    parser.set_defaults(run=_demo)


def _demo(arguments: argparse.Namespace) -> int:
    from torchtowers.serving.demo import demo

    demo(
        tuple(arguments.names),
        state=arguments.state,
        port=arguments.port,
        open_browser=arguments.open,
        progress=log,
    )
    return 0
