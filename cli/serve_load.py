"""torchtowers serve load: measure a served model under load."""

import argparse
from pathlib import Path
from typing import Any

from torchtowers.cli.console import add_command, log, print_json, print_table

_EXAMPLES = """
torchtowers serve load movielens
torchtowers serve load movielens --clients 64 --seconds 30 --input requests.jsonl
torchtowers serve load movielens --input requests.jsonl --grpc --report load.html
"""


def add(verbs: Any) -> argparse.ArgumentParser:
    """Add the command."""
    parser = add_command(
        verbs, "load", "measure a served model: throughput, latency, errors, checked answers", _EXAMPLES
    )
    parser.add_argument("name", help="the model's name")
    parser.add_argument(
        "--input",
        type=Path,
        metavar="FILE",
        help="requests, a JSON object a line; by default those that the archive holds",
    )
    parser.add_argument("--clients", type=int, default=64, help="that ask at once (64)")
    parser.add_argument("--seconds", type=float, default=30.0, help="of measuring (30)")
    parser.add_argument(
        "--warm-up", type=float, default=2.0, metavar="SECONDS", help="of load before that (2)"
    )
    parser.add_argument("--version", help="the model's version; by default the server's default one")
    parser.add_argument("--grpc", action="store_true", help="ask over gRPC rather than REST")
    parser.add_argument(
        "--no-check", action="store_true", help="don't compare the answers with those without load"
    )
    parser.add_argument("--timeout", type=float, default=30.0, help="seconds that an answer may take (30)")
    parser.add_argument("--report", type=Path, metavar="FILE.html", help="write a picture")
    parser.add_argument("--json", action="store_true", help="print the figures for machines")
    parser.set_defaults(run=_load)
    return parser


def _load(arguments: argparse.Namespace) -> int:
    from torchtowers.serving.load import measure_load
    from torchtowers.serving.load_report import write_load_report
    from torchtowers.serving.recorded import read_requests, requests_of_served

    requests = (
        read_requests(arguments.input)
        if arguments.input
        else requests_of_served(arguments.name, arguments.version, arguments.state)
    )
    result = measure_load(
        arguments.name,
        requests,
        clients=arguments.clients,
        seconds=arguments.seconds,
        warm_up=arguments.warm_up,
        version=arguments.version,
        grpc=arguments.grpc,
        check=not arguments.no_check,
        timeout=arguments.timeout,
        state=arguments.state,
        progress=log,
    )
    if arguments.report:
        write_load_report(result, arguments.report)
        log(f"{arguments.report} has the picture")
    figures = result.to_json()
    if arguments.json:
        print_json(figures)
    else:
        latency = {f"{name} ms": f"{value:.2f}" for name, value in figures["milliseconds"].items() if value}
        counts = {
            "requests/s": f"{result.requests_per_second:,.0f}",
            **latency,
            "errors": f"{result.failed:,}",
        }
        if result.checked:
            counts["wrong"] = f"{result.wrong:,} of {result.checked:,}"
        print_table(list(counts), [list(counts.values())], left=())
        for kind, count in result.errors.items():
            log(f"{count:,} x {kind}")
        if result.first_wrong:
            log(f"the first wrong answer: {result.first_wrong}")
    return 1 if result.failed or result.wrong else 0
