"""torchtowers serve tune: measure how a model is served best on this machine."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torchtowers.cli.console import add_command, log, print_error, print_json, print_table

if TYPE_CHECKING:
    from torchtowers.serving.tuning_result import Tuning

_EXAMPLES = """
torchtowers serve tune movielens
torchtowers serve tune movielens --batch-sizes 1 16 32 --delays 1 --workers 1 2 --threads 1 --report tune.html
torchtowers serve tune movielens --most-latency 5 --write
"""


def add(verbs: Any) -> argparse.ArgumentParser:
    """Add the command."""
    parser = add_command(
        verbs,
        "tune",
        "measure batch sizes, delays, workers and threads on this machine, and write the best as settings",
        _EXAMPLES,
    )
    parser.add_argument("name", help="the model's name")
    parser.add_argument("--version", help="the model's version, where the store holds several")
    parser.add_argument("--model-store", type=Path, default=Path("model_store"), help="(model_store)")
    parser.add_argument("--config", type=Path, help="TorchServe's settings, as for `serve start`")
    parser.add_argument(
        "--input",
        type=Path,
        metavar="FILE",
        help="requests, a JSON object a line; by default those that the archive holds",
    )
    for option, values, text in (
        ("--batch-sizes", [1, 8, 32, 64], "requests answered in one pass"),
        ("--delays", [1, 2, 5], "milliseconds that a batch waits"),
        ("--workers", [1, 2], "processes that answer"),
        ("--threads", [1, 2], "of one operation in one worker"),
    ):
        shown = " ".join(map(str, values))
        parser.add_argument(
            option, type=int, nargs="+", default=values, metavar="N", help=f"{text} ({shown})"
        )
    parser.add_argument("--clients", type=int, default=64, help="that ask at once (64)")
    parser.add_argument("--seconds", type=float, default=3.0, help="of load for each setting (3)")
    parser.add_argument(
        "--most-latency",
        type=float,
        metavar="MS",
        help="of one client alone, its median; by default 1.5 times the least, or 2 ms more than it",
    )
    parser.add_argument("--timeout", type=float, default=300.0, help="seconds until workers are ready (300)")
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="the tuned settings (NAME.model-config.yaml)"
    )
    parser.add_argument("--write", action="store_true", help="give them to the archive in the model store")
    parser.add_argument(
        "--sign", type=Path, metavar="KEY", help="with --write: sign it with this private key"
    )
    parser.add_argument("--report", type=Path, metavar="FILE.html", help="write a picture")
    parser.add_argument("--json", action="store_true", help="print the figures for machines")
    parser.set_defaults(run=_tune)
    return parser


def _tune(arguments: argparse.Namespace) -> int:
    from torchtowers.cli.serve import default_config
    from torchtowers.export.reconfigured import configure_archive
    from torchtowers.export.signing import read_private_key
    from torchtowers.serving.recorded import find_archive, read_requests, recorded_requests
    from torchtowers.serving.tuning import tune
    from torchtowers.serving.tuning_report import write_tuning_report

    if arguments.sign:
        # Before the minutes that measuring takes.
        read_private_key(arguments.sign)
    store = arguments.model_store
    archive = find_archive(store, arguments.name, arguments.version)
    path = store / archive.file
    tuning = tune(
        store,
        archive,
        read_requests(arguments.input) if arguments.input else recorded_requests(path),
        configure_archive,
        config=arguments.config or default_config(),
        batch_sizes=arguments.batch_sizes,
        delays=arguments.delays,
        workers=arguments.workers,
        threads=arguments.threads,
        clients=arguments.clients,
        seconds=arguments.seconds,
        most=arguments.most_latency,
        timeout=arguments.timeout,
        progress=log,
    )
    _print(tuning, as_json=arguments.json)
    if arguments.report:
        write_tuning_report(tuning, arguments.report)
        log(f"{arguments.report} has the picture")
    if tuning.is_interrupted:
        print_error("interrupted: no settings are written")
        return 130
    if tuning.chosen is None:
        print_error(tuning.no_choice())
        return 1
    out = arguments.out or Path(f"{tuning.name}.model-config.yaml")
    tuning.write(out)
    log(f"{out} has the settings: {tuning.chosen.setting}")
    if tuning.chosen is tuning.present:
        log(f"{path} has that setting already")
    elif arguments.write:
        done = configure_archive(path, out, sign=arguments.sign)
        log(f"{done.path} has them, too; a server takes them at its next start")
        if done.lost_signature:
            log(f"it was signed and is not any more: `torchtowers archive sign {done.path} --key KEY`")
    return 0


def _print(tuning: "Tuning", *, as_json: bool) -> None:
    if as_json:
        print_json(tuning.to_json())
        return
    header = ["", "batch", "delay ms", "workers", "threads", "requests/s", "ratio", "p50 ms", "p99 ms"]
    rows = []
    for point in tuning.ranked:
        setting, ratio = point.setting, tuning.ratio(point)
        marks = [
            mark for mark, one in (("chosen", tuning.chosen), ("present", tuning.present)) if point is one
        ]
        figures = [f"{point.requests_per_second:,.0f}", "" if ratio is None else f"{ratio:.2f}"]
        figures += [f"{value:.2f}" for value in (point.p50, point.p99, point.single)]
        rows.append(
            [
                ", ".join(marks),
                str(setting.batch_size),
                str(setting.delay) if setting.batch_size > 1 else "",
                str(setting.workers),
                "" if setting.threads is None else str(setting.threads),
                *(figures if point.failure is None else ["failed", "", "", "", ""]),
            ]
        )
    print_table([*header, "one client, p50 ms"], rows)
    for point in tuning.ranked:
        if point.failure is not None:
            log(f"{point.setting}: {point.failure}")
