"""From an artifact to an archive for TorchServe: the same bytes for the same inputs, anywhere and any day."""

import importlib.metadata
import json
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torchtowers.export.bill import BILLS
from torchtowers.export.config_file import read_config
from torchtowers.export.errors import ExportError
from torchtowers.export.layouts import FORMATS, write_archive
from torchtowers.export.members import FIRST_MOMENT, LAST_YEAR, Member, Moment
from torchtowers.export.model_config import ServingConfig
from torchtowers.export.signing import read_private_key, remove_signature, sign_file, signed_manifest
from torchtowers.export.vendored import CONFIG, is_vendored
from torchtowers.handlers.combined_signature import AnySignature, read_signature
from torchtowers.handlers.errors import ArtifactError
from torchtowers.handlers.execution import ON_CPU, Execution
from torchtowers.handlers.kinds import handler_of
from torchtowers.handlers.seal import MANIFEST, MANIFEST_SIGNATURE
from torchtowers.handlers.settings import Settings
from torchtowers.handlers.signature import FILE_NAME

__all__ = ["BILL", "build_archive"]

BILL = "bill-of-materials.cdx.json"
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
    fused: bool = False,
    config: ServingConfig | Path | None = None,
    archive_format: str = "default",
    sign: str | Path | None = None,
    force: bool = False,
) -> Path:
    """Build an archive from an artifact; a file that is not what the artifact's signature says is refused.

    The archive holds the query tower and index, or the ranking model, or all of them, for one runtime, with
    the encoders, or the fused file alone; and the handlers' package, so that a worker's environment needs
    that runtime and numpy, and not this toolkit.
    Nothing of the building machine enters but the environment's SOURCE_DATE_EPOCH, the time that is written
    where it is set.

    Args:
        artifact: The artifact directory.
        name: The model's name in TorchServe.
        version: Its version.
        export_path: Where the archive goes.
        runtime: `onnx`, `torchscript` or `pt2`.
        fused: Whether the fused file answers alone, in the place of model, encoders and index.
        config: How TorchServe runs it; or a model-config.yaml that says so, which the archive gets as it is.
        archive_format: Of `FORMATS`, as torch-model-archiver names them. `default` and `zip-store` are the
            same `.mar`, since nothing is deflated; `tgz` is a `.tar.gz`, `no-archive` a directory.
        sign: A private key's file. The archive's manifest is signed, and so is the whole file, in a `.sig`
            beside it; a directory has no such file.
        force: Replace an archive of that name with other content.

    Returns:
        The archive.

    Raises:
        ArtifactError: The artifact is incomplete or altered, or has no file for the runtime, or none for the
            precision that `config` asks for.
        ExportError: The name or `config` can't be used, the file can't run on a GPU that `config` asks for,
            an archive with other content is in the way, or the archive can't be written; nothing half-written
            is left.
    """
    for what, value in (("name", name), ("version", version)):
        if not _NAME.fullmatch(value):
            raise ExportError(
                f"{what} {value!r}: expected letters, digits, '_', '.' and '-', the first a letter or digit"
            )
    if archive_format not in FORMATS:
        raise ExportError(f"archive format {archive_format!r}: expected one of {', '.join(FORMATS)}")
    key = None if sign is None else read_private_key(Path(sign))
    moment = _moment()
    artifact = Path(artifact)
    complete = read_signature(artifact)
    signature = complete.for_serving(runtime, fused=fused)
    settings, device, precision = _settings(config or ServingConfig())
    if device == "gpu" and (fused or runtime == "pt2"):
        raise ExportError(
            f"device: {signature.served_file} runs on the CPU: build for it, or with --runtime onnx or "
            "torchscript and not --fused"
        )
    if fused or runtime != "torchscript":
        Execution(precision=precision).refuse_half(signature.served_file)
    members = _members(artifact, complete, signature, runtime, settings)
    manifest = _manifest(name, version, signature, members, moment)
    members[MANIFEST] = Member.of(manifest)
    if key is not None:
        members[MANIFEST_SIGNATURE] = Member.of(signed_manifest(key, manifest))
    target = Path(export_path) / (name + FORMATS[archive_format])
    write_archive(target, members, moment, force=force)
    if key is None or target.is_dir():
        remove_signature(target)
    else:
        sign_file(key, target)
    return target


def _settings(config: ServingConfig | Path) -> tuple[bytes, str, str]:
    """Give the text of model-config.yaml, and the device and the precision that it asks for."""
    if isinstance(config, ServingConfig):
        return config.to_yaml().encode(), config.device, ON_CPU.precision
    text, content = read_config(config)
    return text, str(content.get("deviceType", "cpu")), Settings.from_config(content).precision


def _members(
    artifact: Path, complete: AnySignature, signature: AnySignature, runtime: str, settings: bytes
) -> dict[str, Member]:
    members = {
        CONFIG: Member.of(settings),
        FILE_NAME: Member.of(signature.to_text().encode()),
    }
    unlisted = signature.used_files() - signature.files.keys()
    if unlisted:
        raise ArtifactError(f"signature.json has no sha256 for {min(unlisted)}; export it again")
    for name, digest in complete.files.items():
        if name in signature.files or is_vendored(name, signature.kind):
            members[name] = Member(artifact / name, digest)
        elif name == f"{BILLS}/{runtime}.cdx.json":
            members[BILL] = Member(artifact / name, digest)
    if handler_of(signature.kind) not in members:
        raise ArtifactError(f"the artifact has no {handler_of(signature.kind)}; export it again")
    return members


def _manifest(
    name: str, model_version: str, signature: AnySignature, members: Mapping[str, Member], moment: Moment
) -> bytes:
    year, month, day, hour, minute, second = moment
    manifest: dict[str, Any] = {
        "createdOn": f"{day:02}/{month:02}/{year} {hour:02}:{minute:02}:{second:02}",
        "runtime": "python",
        "model": {
            "modelName": name,
            "modelVersion": model_version,
            "serializedFile": signature.served_file,
            "handler": handler_of(signature.kind),
            "configFile": CONFIG,
        },
        "archiverVersion": ARCHIVER_VERSION,
        # TorchServe passes over keys that it does not know.
        "torchtowers": {
            "version": signature.versions.get("torchtowers", importlib.metadata.version("torchtowers")),
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
