"""torchtowers rollback: put the version back that the last deploy replaced."""

import argparse
from typing import Any

from torchtowers.cli.console import add_command, log
from torchtowers.cli.deploy import add_rollout_options, print_deployment


def add(commands: Any) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "rollback",
        "put the version back that the last deploy replaced",
        "torchtowers rollback movielens",
    )
    parser.add_argument("name", help="the model's name")
    add_rollout_options(parser)
    parser.set_defaults(run=_rollback)


def _rollback(arguments: argparse.Namespace) -> int:
    from torchtowers.serving import rollback

    done = rollback(
        arguments.name,
        state=arguments.state,
        drain=arguments.drain,
        timeout=arguments.timeout,
        progress=log,
    )
    print_deployment(done, as_json=arguments.json)
    return 0
