"""torchtowers: from interactions to a served recommender, one command a step."""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from torchtowers.cli.console import print_error
from torchtowers.handlers.errors import TowersError

__all__ = ["main"]

# In the order of the work. Each is a module with `add(subparsers)`; its parser's `run` gives the exit code.
_COMMANDS = (
    "data",
    "train",
    "tune",
    "evaluate",
    "export",
    "export_index",
    "export_combine",
    "archive",
    "serve",
    "deploy",
    "rollback",
    "status",
    "recommend",
    "demo",
)

_EXAMPLES = """\
the whole way:
  torchtowers data fetch movielens-100k
  torchtowers train configs/movielens-retrieval.yaml --out runs/movielens
  torchtowers export runs/movielens --out artifacts/movielens
  torchtowers archive build artifacts/movielens --name movielens
  torchtowers serve start
  torchtowers recommend movielens '{"user_id": "196"}' -k 5 --fields title
  torchtowers serve stop

exit codes: 0 success, 1 a check or a server that failed, 2 a mistake of the caller's, 130 interrupted
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: Without the program's name; by default those of the process.

    Returns:
        The exit code.
    """
    parser = argparse.ArgumentParser(
        prog="torchtowers",
        description=__doc__,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in _COMMANDS:
        importlib.import_module(f"torchtowers.cli.{name}").add(commands)
    words = list(sys.argv[1:] if arguments is None else arguments)
    # A command of two words; argparse knows commands of one.
    if " ".join(words[:2]) in commands.choices:
        words[:2] = [" ".join(words[:2])]
    parsed, rest = parser.parse_known_args(words)
    # argparse takes positional arguments in one run only, and overrides may stand after options.
    takes_overrides = hasattr(parsed, "overrides") and not any(part.startswith("-") for part in rest)
    if rest and not takes_overrides:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:
        parsed.overrides = [*parsed.overrides, *rest]
    try:
        code: int = parsed.run(parsed)
    except TowersError as error:
        print_error(str(error))
        return getattr(error, "exit_code", 2)
    except KeyboardInterrupt:
        print_error("interrupted")
        return 130
    except BrokenPipeError:
        # Who reads our output, such as `head`, has enough; Python must not write the rest at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        print_error(f"{error.filename or 'the system'}: {error.strerror or error}")
        return 1
    return code


if __name__ == "__main__":
    sys.exit(main())
