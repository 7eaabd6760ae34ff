"""torchtowers train: from a configuration to a run directory."""

import argparse
import shlex
import sys
from pathlib import Path
from typing import Any

from torchtowers.cli.console import add_command, log, print_metrics

_EXAMPLES = """
torchtowers train configs/movielens-retrieval.yaml --out runs/movielens
torchtowers train configs/movielens-retrieval.yaml --out runs/short training.epochs=2 model.dim=32
torchtowers train configs/movielens-retrieval.yaml --out runs/movielens --resume
torchtowers train runs/movielens/config.yaml --out runs/again
"""


def add(commands: Any) -> None:
    """Add the command."""
    parser = add_command(
        commands, "train", "train a model and evaluate it over the whole catalogue", _EXAMPLES
    )
    parser.add_argument("config", type=Path, help="the configuration, a YAML file")
    parser.add_argument("--out", type=Path, required=True, help="the run directory")
    earlier = parser.add_mutually_exclusive_group()
    earlier.add_argument("--resume", action="store_true", help="go on from an interrupted run in --out")
    earlier.add_argument("--overwrite", action="store_true", help="replace a run that is in --out already")
    parser.add_argument("--json", action="store_true", help="print metrics.json")
    parser.add_argument(
        "overrides", nargs="*", metavar="dotted.key=value", help="in place of the file's values"
    )
    parser.set_defaults(run=_train)


def _train(arguments: argparse.Namespace) -> int:
    from torchtowers.models.config import load_config
    from torchtowers.models.experiment import train

    config = load_config(arguments.config, arguments.overrides)
    trained = train(
        config,
        arguments.out,
        resume=arguments.resume,
        overwrite=arguments.overwrite,
        log=log,
        show_progress=sys.stderr.isatty(),
    )
    if trained.interrupted:
        again = shlex.join([str(arguments.config), "--out", str(arguments.out), *arguments.overrides])
        log(f"interrupted; {arguments.out} holds the model so far. Go on: torchtowers train {again} --resume")
        return 130
    print_metrics(trained.run.metrics(), as_json=arguments.json)
    log(f"{arguments.out} is trained; look at {arguments.out}/report.html")
    return 0
