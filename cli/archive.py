"""torchtowers archive: from an artifact to a .mar."""

import argparse
from pathlib import Path
from typing import Any

from torchtowers.cli.console import add_command, log, print_json

_EXAMPLES = """
torchtowers archive build artifacts/movielens --name movielens
torchtowers archive build artifacts/movielens --name movielens --version 2.0 --runtime torchscript --force
torchtowers archive build artifacts/movielens --name movielens --workers 2 --batch-size 64 --max-batch-delay 2
"""


def add(commands: Any) -> None:
    """Add the command."""
    archive = add_command(commands, "archive", "build archives for TorchServe", _EXAMPLES)
    verbs = archive.add_subparsers(dest="verb", required=True, metavar="VERB")
    build = add_command(verbs, "build", "build a .mar, the same to the byte for the same inputs", _EXAMPLES)
    build.add_argument("artifact", type=Path, metavar="ARTIFACT", help="the artifact directory")
    build.add_argument("--name", required=True, help="the model's name in TorchServe, and the file's")
    build.add_argument("--version", default="1.0", help="the model's version (1.0)")
    build.add_argument(
        "--export-path", type=Path, default=Path("model_store"), help="the folder (model_store)"
    )
    build.add_argument("--runtime", choices=("onnx", "torchscript"), default="onnx", help="(onnx)")
    build.add_argument("--force", action="store_true", help="replace an archive with other content")
    build.add_argument("--workers", type=int, default=1, help="processes that answer (1)")
    build.add_argument("--batch-size", type=int, default=32, help="requests answered in one pass (32)")
    build.add_argument("--max-batch-delay", type=int, default=1, help="milliseconds that a batch waits (1)")
    build.add_argument(
        "--max-k", type=int, default=10_000, help="the largest k that may be asked for (10000)"
    )
    build.add_argument(
        "--max-candidates",
        type=int,
        default=10_000,
        help="the most candidates that a row may have ranked (10000)",
    )
    build.add_argument("--device", choices=("cpu", "gpu"), default="cpu", help="where workers run (cpu)")
    build.add_argument("--json", action="store_true", help="print the result for machines")
    build.set_defaults(run=_build)


def _build(arguments: argparse.Namespace) -> int:
    from torchtowers.export.archive import build_archive
    from torchtowers.export.model_config import ServingConfig
    from torchtowers.handlers.signature import sha256_of

    path = build_archive(
        arguments.artifact,
        name=arguments.name,
        version=arguments.version,
        export_path=arguments.export_path,
        runtime=arguments.runtime,
        config=ServingConfig(
            workers=arguments.workers,
            batch_size=arguments.batch_size,
            max_batch_delay=arguments.max_batch_delay,
            device=arguments.device,
            max_k=arguments.max_k,
            max_candidates=arguments.max_candidates,
        ),
        force=arguments.force,
    )
    digest = sha256_of(path)
    if arguments.json:
        print_json({"archive": str(path), "sha256": digest, "bytes": path.stat().st_size})
    else:
        print(f"{digest}  {path}")
    log(f"{path}: {path.stat().st_size:,} bytes, runtime {arguments.runtime}")
    return 0
