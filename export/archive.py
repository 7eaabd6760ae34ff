"""From an artifact to a `.mar` for TorchServe: the same bytes for the same inputs, anywhere, at any time."""

import importlib.metadata
import json
import os
import re
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import torchtowers.handlers
from torchtowers.export.errors import ExportError
from torchtowers.export.model_config import ServingConfig
from torchtowers.export.stored_zip import FIRST_MOMENT, LAST_YEAR, Member, Moment, write_zip
from torchtowers.handlers.signature import FILE_NAME, Signature, sha256_of

__all__ = ["build_archive"]

CONFIG = "model-config.yaml"
MANIFEST = "MAR-INF/MANIFEST.json"
# What TorchServe's own archiver writes; the server reads the layout by it.
ARCHIVER_VERSION = "0.12.0"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]*")


def build_archive(
    artifact: str | Path,
    *,
    name: str,
    version: str = "1.0",
    export_path: str | Path = "model_store",
    runtime: str = "onnx",
    config: ServingConfig | None = None,
    force: bool = False,
) -> Path:
    """Build `export_path/name.mar` from an artifact whose files are verified first.

    The archive holds the query tower and index, or the ranking model, for one runtime, the encoders, and the
    handlers' package as it is, so that a worker's environment needs that runtime and numpy, and not this
    toolkit. Nothing of the building machine enters but the environment's SOURCE_DATE_EPOCH, the time that is
    written where it is set.

    Args:
        artifact: The artifact directory.
        name: The model's name in TorchServe.
        version: Its version.
        export_path: Where the archive goes.
        runtime: `onnx` or `torchscript`.
        config: How TorchServe runs it.
        force: Replace an archive of that name with other content.

    Returns:
        The archive.

    Raises:
        ArtifactError: The artifact is incomplete or altered, or has no tower for the runtime.
        ExportError: The name can't be used, an archive with other content is in the way, or the archive can't
            be written; nothing half-written is left.
    """
    for what, value in (("name", name), ("version", version)):
        if not _NAME.fullmatch(value):
            raise ExportError(
                f"{what} {value!r}: expected letters, digits, '_', '.' and '-', the first a letter or digit"
            )
    moment = _moment()
    artifact = Path(artifact)
    complete = Signature.read(artifact)
    complete.verify_files(artifact)
    signature = complete.for_serving(runtime)
    members = _members(artifact, signature, config or ServingConfig())
    members[MANIFEST] = Member.of(_manifest(name, version, signature, members, moment))
    target = Path(export_path) / f"{name}.mar"
    with _beside(target) as file:
        write_zip(file, members, moment)
        file.flush()
        os.fsync(file.fileno())
        if target.exists() and not force and sha256_of(target) != sha256_of(Path(file.name)):
            raise ExportError(
                f"{target} exists with other content: replace it with --force, or choose another --name"
            )
    return target


def _members(artifact: Path, signature: Signature, config: ServingConfig) -> dict[str, Member]:
    package = Path(torchtowers.handlers.__path__[0])
    handler = _handler(signature)
    members = {
        handler: Member.of(package / handler),
        CONFIG: Member.of(config.to_yaml().encode()),
        FILE_NAME: Member.of(signature.to_text().encode()),
    }
    members |= {name: Member(artifact / name, digest) for name, digest in signature.files.items()}
    for path in sorted(package.glob("*.py")):
        if not path.name.endswith("_handler.py"):
            members[f"torchtowers/handlers/{path.name}"] = Member.of(path)
    return members


def _handler(signature: Signature) -> str:
    return f"{signature.kind}_handler.py"


def _manifest(
    name: str, model_version: str, signature: Signature, members: Mapping[str, Member], moment: Moment
) -> bytes:
    # The only file of the archive's only runtime.
    ((tower,),) = (files.values() for files in signature.towers.values())
    year, month, day, hour, minute, second = moment
    manifest: dict[str, Any] = {
        "createdOn": f"{day:02}/{month:02}/{year} {hour:02}:{minute:02}:{second:02}",
        "runtime": "python",
        "model": {
            "modelName": name,
            "modelVersion": model_version,
            "serializedFile": tower,
            "handler": _handler(signature),
            "configFile": CONFIG,
        },
        "archiverVersion": ARCHIVER_VERSION,
        # TorchServe passes over keys that it does not know.
        "torchtowers": {
            "version": importlib.metadata.version("torchtowers"),
            "members": {path: member.sha256 for path, member in sorted(members.items())},
        },
    }
    return (json.dumps(manifest, indent=2) + "\n").encode()


def _moment() -> Moment:
    """Give the time that is written everywhere: SOURCE_DATE_EPOCH, or the first that a zip file can hold."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    if not epoch:
        return FIRST_MOMENT
    try:
        moment = time.gmtime(int(epoch))
    except (ValueError, OverflowError, OSError) as error:
        raise ExportError(f"SOURCE_DATE_EPOCH: expected seconds since 1970, got {epoch!r}") from error
    if moment.tm_year > LAST_YEAR:
        raise ExportError(
            f"SOURCE_DATE_EPOCH: a zip file's last year is {LAST_YEAR}, got {epoch!r}, of {moment.tm_year}"
        )
    return max(
        (moment.tm_year, moment.tm_mon, moment.tm_mday, moment.tm_hour, moment.tm_min, moment.tm_sec),
        FIRST_MOMENT,
    )


@contextmanager
def _beside(target: Path) -> Iterator[IO[bytes]]:
    """Give a file beside the target, which takes its name when all went well and is removed otherwise."""
    part: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=target.parent, prefix=f".{target.name}.", delete=False) as file:
            part = Path(file.name)
            yield file
        # The same rights under any umask, as an archive is read by the server's user.
        part.chmod(0o644)
        part.replace(target)
        part = None
    except OSError as error:
        raise ExportError(
            f"{target} can't be written: {error.strerror or error}; nothing is left of it"
        ) from error
    finally:
        if part is not None:
            part.unlink(missing_ok=True)
