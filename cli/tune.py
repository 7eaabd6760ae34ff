"""torchtowers tune: a search for settings on the validation part."""

import argparse
import sys
from pathlib import Path
from typing import Any

from torchtowers.cli.console import add_command, log, print_json, print_table

_EXAMPLES = """
torchtowers tune configs/retrieval.yaml --out tuning/retrieval --trials 30
torchtowers tune configs/retrieval.yaml --out tuning/retrieval --trials 60
torchtowers tune my.yaml --out tuning/my --timeout 3600 training.epochs=50
torchtowers train tuning/my/best.yaml --out runs/my
"""
_SHOWN = 10


def add(commands: Any) -> None:
    """Add the command."""
    summary = "search for settings on the validation part; the same command goes on where it stopped"
    parser = add_command(commands, "tune", summary, _EXAMPLES)
    parser.add_argument("config", type=Path, help="the configuration; tuning.space says what is tried")
    parser.add_argument("--out", type=Path, required=True, help="the folder of the search")
    parser.add_argument("--trials", type=int, default=30, help="how many there are to be, with earlier ones")
    parser.add_argument("--timeout", type=float, help="seconds after which no new trial begins")
    parser.add_argument("--json", action="store_true", help="print trials.json")
    parser.add_argument(
        "overrides", nargs="*", metavar="dotted.key=value", help="in place of the file's values"
    )
    parser.set_defaults(run=_tune)


def _tune(arguments: argparse.Namespace) -> int:
    from torchtowers.models.config import load_config
    from torchtowers.models.tuning import tune

    config = load_config(arguments.config, arguments.overrides)
    found = tune(
        config,
        arguments.out,
        trials=arguments.trials,
        timeout=arguments.timeout,
        log=log,
        show_progress=sys.stderr.isatty(),
    )
    if arguments.json:
        print_json({"metric": found.metric, "trials": [vars(trial) for trial in found.trials]})
    else:
        done = [trial for trial in found.trials if trial.value is not None]
        is_better = found.config.training.early_stopping is None or (
            found.config.training.early_stopping.mode == "max"
        )
        done.sort(key=lambda trial: trial.value or 0.0, reverse=is_better)
        rows = [
            [str(trial.number), f"{trial.value:.4f}", trial.state, _settings(trial.settings)]
            for trial in done[:_SHOWN]
        ]
        print_table(["trial", found.metric, "state", "settings"], rows, left=(0, 2, 3))
    if found.interrupted:
        log("interrupted: the same command goes on")
        return 130
    log(f"{arguments.out}/best.yaml is the best; look at {arguments.out}/report.html")
    return 0


def _settings(settings: Any) -> str:
    shown = [
        f"{key}={value:.3g}" if isinstance(value, float) else f"{key}={value}"
        for key, value in settings.items()
    ]
    return " ".join(shown) or "as given"
