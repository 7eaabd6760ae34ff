"""torchtowers archive: from an artifact to an archive, and all that a release asks of one."""

import argparse
from dataclasses import fields
from pathlib import Path
from typing import Any

from torchtowers.cli.console import add_command, log, print_json, print_table

_EXAMPLES = """
torchtowers archive build artifacts/movielens --name movielens
torchtowers archive build artifacts/movielens --name movielens --version 2.0 --runtime torchscript --force
torchtowers archive build artifacts/movielens --name movielens --runtime onnx --fused
torchtowers archive build artifacts/movielens --name movielens --workers 2 --batch-size 64 --max-batch-delay 2
torchtowers archive build artifacts/movielens --name movielens --config movielens.model-config.yaml
torchtowers archive build artifacts/movielens --name movielens --sign release.key
torchtowers archive build artifacts/both --name both --candidates 300
torchtowers archive lint model_store/movielens.mar
"""


def add(commands: Any) -> None:
    """Add the command."""
    archive = add_command(commands, "archive", "build, check and sign archives for TorchServe", _EXAMPLES)
    verbs = archive.add_subparsers(dest="verb", required=True, metavar="VERB")
    _add_build(verbs)
    for name, summary, run in (
        ("inspect", "show what is in an archive", _inspect),
        ("lint", "find what would go wrong on a server; for archives of other tools, too", _lint),
        ("verify", "check that an archive is what was built, and who signed it", _verify),
    ):
        command = add_command(verbs, name, summary, f"torchtowers archive {name} model_store/movielens.mar")
        command.add_argument("file", type=Path, metavar="ARCHIVE", help="a .mar, a .tar.gz or a directory")
        if run is _verify:
            command.add_argument("--public-key", type=Path, help="it has to be signed by a key of this file")
        command.add_argument("--json", action="store_true", help="print the result for machines")
        command.set_defaults(run=run)
    diff = add_command(
        verbs,
        "diff",
        "tell what differs between two archives: members, features, versions, settings",
        "torchtowers archive diff old.mar model_store/movielens.mar",
    )
    diff.add_argument("first", type=Path, metavar="A")
    diff.add_argument("second", type=Path, metavar="B")
    diff.add_argument("--json", action="store_true", help="print the result for machines")
    diff.set_defaults(run=_diff)
    sign = add_command(
        verbs,
        "sign",
        "sign an archive: inside for the worker, and in ARCHIVE.sig beside it",
        "torchtowers archive sign model_store/movielens.mar --key release.key",
    )
    sign.add_argument("file", type=Path, metavar="ARCHIVE", help="a .mar, a .tar.gz or a directory")
    sign.add_argument("--key", type=Path, required=True, help="the private key's file")
    sign.set_defaults(run=_sign)
    configure = add_command(
        verbs,
        "configure",
        "give an archive other settings, as of `serve tune`; what else is in it stays",
        "torchtowers archive configure model_store/movielens.mar --config movielens.model-config.yaml",
    )
    configure.add_argument("file", type=Path, metavar="ARCHIVE", help="a .mar, a .tar.gz or a directory")
    configure.add_argument("--config", type=Path, required=True, metavar="FILE", help="a model-config.yaml")
    configure.add_argument("--sign", type=Path, metavar="KEY", help="sign it with this private key")
    configure.set_defaults(run=_configure)
    keygen = add_command(
        verbs, "keygen", "make a key to sign with: KEY and KEY.pub", "torchtowers archive keygen release.key"
    )
    keygen.add_argument("key", type=Path, metavar="KEY", help="the private key's file; keep it secret")
    keygen.set_defaults(run=_keygen)


def _add_build(verbs: Any) -> None:
    build = add_command(
        verbs, "build", "build an archive, the same to the byte for the same inputs", _EXAMPLES
    )
    build.add_argument("artifact", type=Path, metavar="ARTIFACT", help="the artifact directory")
    build.add_argument("--name", required=True, help="the model's name in TorchServe, and the file's")
    build.add_argument("--version", default="1.0", help="the model's version (1.0)")
    build.add_argument(
        "--export-path", type=Path, default=Path("model_store"), help="the folder (model_store)"
    )
    build.add_argument("--runtime", choices=("onnx", "torchscript", "pt2"), default="onnx", help="(onnx)")
    build.add_argument(
        "--fused", action="store_true", help="the fused file answers alone, without encoders and index beside"
    )
    build.add_argument(
        "--archive-format",
        choices=("default", "zip-store", "tgz", "no-archive"),
        default="default",
        help="a .mar, the same .mar, a .tar.gz, or a directory (default)",
    )
    build.add_argument("--sign", type=Path, metavar="KEY", help="sign it with this private key")
    build.add_argument("--force", action="store_true", help="replace an archive with other content")
    build.add_argument(
        "--config", type=Path, metavar="FILE", help="a model-config.yaml, in the place of the settings below"
    )
    for option, default, text in (
        ("--workers", 1, "processes that answer"),
        ("--batch-size", 32, "requests answered in one pass"),
        ("--max-batch-delay", 1, "milliseconds that a batch waits"),
        ("--response-timeout", 120, "seconds after which a worker that does not answer is restarted"),
        ("--startup-timeout", 120, "seconds that loading may take"),
        ("--job-queue-size", 100, "requests that may wait"),
        ("--client-timeout", 0, "milliseconds after which a waiting request is dropped, 0 for never"),
        ("--threads", 1, "of one operation in one worker"),
        ("--max-k", 10_000, "the largest k that may be asked for"),
        ("--max-candidates", 10_000, "the most candidates that a row may have ranked"),
    ):
        build.add_argument(
            option, type=int, default=argparse.SUPPRESS, metavar="N", help=f"{text} ({default})"
        )
    build.add_argument(
        "--candidates",
        type=int,
        default=argparse.SUPPRESS,
        metavar="N",
        help="items that a model of two stages ranks (the artifact's)",
    )
    build.add_argument(
        "--device", choices=("cpu", "gpu"), default=argparse.SUPPRESS, help="where workers run (cpu)"
    )
    build.add_argument(
        "--device-id",
        type=int,
        action="append",
        dest="device_ids",
        default=argparse.SUPPRESS,
        metavar="N",
        help="a GPU to use; may be repeated (all)",
    )
    build.add_argument("--json", action="store_true", help="print the result for machines")
    build.set_defaults(run=_build)


def _build(arguments: argparse.Namespace) -> int:
    from torchtowers.export.archive import build_archive
    from torchtowers.export.errors import ExportError
    from torchtowers.export.model_config import ServingConfig
    from torchtowers.handlers.signature import sha256_of

    names = [field.name for field in fields(ServingConfig) if hasattr(arguments, field.name)]
    settings = {name: getattr(arguments, name) for name in names}
    if "device_ids" in settings:
        settings["device_ids"] = tuple(settings["device_ids"])
    if arguments.config and settings:
        option = names[0].replace("_", "-").removesuffix("s" if names[0] == "device_ids" else "")
        raise ExportError(f"--config has all settings: change it there, and leave out --{option}")
    path = build_archive(
        arguments.artifact,
        name=arguments.name,
        version=arguments.version,
        export_path=arguments.export_path,
        runtime=arguments.runtime,
        fused=arguments.fused,
        config=arguments.config or ServingConfig(**settings),
        archive_format=arguments.archive_format,
        sign=arguments.sign,
        force=arguments.force,
    )
    if path.is_dir():
        result: dict[str, Any] = {"archive": str(path)}
    else:
        result = {"archive": str(path), "sha256": sha256_of(path), "bytes": path.stat().st_size}
    if arguments.json:
        print_json(result)
    else:
        print(f"{result['sha256']}  {path}" if "sha256" in result else path)
    log(f"{path} is built, runtime {arguments.runtime}{', fused' if arguments.fused else ''}")
    return 0


def _inspect(arguments: argparse.Namespace) -> int:
    from torchtowers.export.inspection import inspect_archive, shown

    content = inspect_archive(arguments.file)
    if arguments.json:
        print_json(content)
    else:
        print_table(["what", "value"], shown(content), left=(0, 1))
    return 0


def _lint(arguments: argparse.Namespace) -> int:
    from torchtowers.export.lint import lint_archive

    return _report(arguments, lint_archive(arguments.file), "nothing to complain of")


def _verify(arguments: argparse.Namespace) -> int:
    from torchtowers.export.verify import verify_archive

    found = verify_archive(arguments.file, arguments.public_key)
    checked = "its signature" if arguments.public_key else "no signature, as no --public-key is given"
    return _report(arguments, found, f"it is what was built; checked are every member and {checked}")


def _report(arguments: argparse.Namespace, found: list[Any], good: str) -> int:
    """Print findings, a line each; errors make the exit code 1."""
    if arguments.json:
        print_json([vars(finding) for finding in found])
    else:
        for finding in found:
            parts = (finding.kind, finding.name, finding.member, finding.text)
            print(": ".join(part for part in parts if part))
    failed = any(finding.kind == "error" for finding in found)
    log(f"{arguments.file}: {len(found)} findings" if found else f"{arguments.file}: {good}")
    return 1 if failed else 0


def _diff(arguments: argparse.Namespace) -> int:
    from torchtowers.export.inspection import difference, inspect_archive, one_line

    found = difference(inspect_archive(arguments.first), inspect_archive(arguments.second))
    if arguments.json:
        print_json({place: {"a": first, "b": second} for place, (first, second) in found.items()})
    elif found:
        rows = [[place, one_line(first), one_line(second)] for place, (first, second) in found.items()]
        print_table(["what", str(arguments.first), str(arguments.second)], rows, left=(0, 1, 2))
    log(f"{len(found)} differences")
    return 1 if found else 0


def _sign(arguments: argparse.Namespace) -> int:
    from torchtowers.export.resigning import sign_archive

    written = sign_archive(arguments.file, arguments.key)
    for path in written:
        print(path)
    if len(written) == 1 and not arguments.file.is_dir():
        log("another tool built it and its manifest has no hashes: a worker can't check the signature")
    return 0


def _configure(arguments: argparse.Namespace) -> int:
    from torchtowers.export.reconfigured import configure_archive

    done = configure_archive(arguments.file, arguments.config, sign=arguments.sign)
    print(done.path)
    if done.lost_signature:
        log(f"{done.path} was signed and is not any more: `torchtowers archive sign {done.path} --key KEY`")
    return 0


def _keygen(arguments: argparse.Namespace) -> int:
    from torchtowers.export.signing import generate_key

    name = generate_key(arguments.key)
    print(f"{arguments.key}\n{arguments.key}.pub")
    log(f"key {name}: keep {arguments.key} secret, and give {arguments.key}.pub to those who check")
    return 0
