"""torchtowers serve: start, stop and look at TorchServe."""

import argparse
import site
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torchtowers.cli import serve_describe, serve_load, serve_tune
from torchtowers.cli.console import add_command, log, print_json, print_table

if TYPE_CHECKING:
    from torchtowers.serving import Server

_CONFIG = "config.properties"


def add(commands: Any) -> None:
    """Add the command."""
    serve = add_command(
        commands,
        "serve",
        "run TorchServe",
        "torchtowers serve start\ntorchtowers serve status\n"
        "torchtowers serve load movielens\n"
        "torchtowers serve tune movielens\n"
        "torchtowers serve stop",
    )
    verbs = serve.add_subparsers(dest="verb", required=True, metavar="VERB")
    start = add_command(
        verbs,
        "start",
        "start TorchServe on this host and wait until every worker is ready",
        "torchtowers serve start\ntorchtowers serve start --models movielens --config config.properties",
    )
    start.add_argument("--model-store", type=Path, default=Path("model_store"), help="(model_store)")
    start.add_argument("--models", default="all", help="all, or names with commas (all)")
    start.add_argument("--config", type=Path, help=f"TorchServe's settings ({_CONFIG}, here or as installed)")
    start.add_argument(
        "--timeout", type=float, default=120.0, help="seconds until the workers are ready (120)"
    )
    start.add_argument(
        "--allow-deploy",
        action="store_true",
        help="take new versions while it runs: who has the management token can run an archive's code then",
    )
    stop = add_command(verbs, "stop", "stop the server that was started", "torchtowers serve stop")
    status = add_command(
        verbs, "status", "tell whether it runs, and how its models are", "torchtowers serve status"
    )
    token = add_command(
        verbs,
        "token",
        "print the token that a request to the inference API needs",
        'curl -H "Authorization: Bearer $(torchtowers serve token)" http://127.0.0.1:8080/ping\n'
        "torchtowers serve token --type management",
    )
    token.add_argument("--type", choices=("inference", "management"), default="inference", help="(inference)")
    for parser, run in ((start, _start), (stop, _stop), (status, _status), (token, _token)):
        parser.set_defaults(run=run)
        if parser in (start, status):
            parser.add_argument("--json", action="store_true", help="print the result for machines")
    serve_tune.add(verbs)
    for parser in (start, stop, status, token, serve_load.add(verbs), serve_describe.add(verbs)):
        parser.add_argument(
            "--state",
            type=Path,
            help="the server's state folder ($TORCHTOWERS_STATE, or one in the user's home)",
        )


def _start(arguments: argparse.Namespace) -> int:
    from torchtowers.serving import start

    server = start(
        arguments.model_store,
        models=arguments.models,
        config=arguments.config or default_config(),
        state=arguments.state,
        timeout=arguments.timeout,
        allow_deploy=arguments.allow_deploy,
        progress=log,
    )
    _print(server, as_json=arguments.json)
    return 0


def _stop(arguments: argparse.Namespace) -> int:
    from torchtowers.serving import stop

    stop(arguments.state)
    log("stopped")
    return 0


def _status(arguments: argparse.Namespace) -> int:
    from torchtowers.serving import status

    server = status(arguments.state)
    if server is None:
        if arguments.json:
            print_json({"running": False})
        else:
            print("no server runs")
        return 1
    _print(server, as_json=arguments.json)
    return 0


def _token(arguments: argparse.Namespace) -> int:
    from torchtowers.serving import current_token

    print(current_token(arguments.type, arguments.state))
    return 0


def default_config() -> Path:
    """Give the file that lies here, else the one that was installed with the package."""
    installed = [Path(base) / "share" / "torchtowers" / _CONFIG for base in (sys.prefix, site.getuserbase())]
    for path in (Path(_CONFIG), *installed):
        if path.exists():
            return path
    return Path(_CONFIG)


def _print(server: "Server", *, as_json: bool) -> None:
    record = server.record
    models = [
        {
            "name": model.name,
            "version": model.version,
            "workers": [{"id": worker.id, "status": worker.status} for worker in model.workers],
        }
        for model in server.models
    ]
    if as_json:
        print_json(
            {
                "running": True,
                "ready": server.ready,
                "pid": server.pid,
                "rest": record.inference,
                "grpc": record.grpc,
                "models": models,
                "logs": str(server.logs),
            }
        )
        return
    rows = [
        [model.name, model.version, ", ".join(worker.status for worker in model.workers) or "no worker"]
        for model in server.models
    ]
    print_table(["model", "version", "workers"], rows)
    state = "is ready" if server.ready else "is not ready"
    log(
        f"TorchServe {state}: {record.inference}, gRPC {record.grpc}, pid {server.pid}, logs in {server.logs}"
    )
