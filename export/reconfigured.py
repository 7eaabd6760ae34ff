"""An archive with other settings for TorchServe: the same members but for model-config.yaml, sealed anew."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torchtowers.export.config_file import read_config
from torchtowers.export.errors import ExportError
from torchtowers.export.layouts import write_archive
from torchtowers.export.members import FIRST_MOMENT, Member
from torchtowers.export.opened import OpenArchive, open_archive
from torchtowers.export.resigning import created, require_as_built
from torchtowers.export.signing import (
    read_private_key,
    remove_signature,
    sign_file,
    signature_of,
    signed_manifest,
)
from torchtowers.export.vendored import CONFIG
from torchtowers.export.verify import manifest_of
from torchtowers.handlers.seal import MANIFEST, MANIFEST_SIGNATURE, sealed_members

__all__ = ["Configured", "configure_archive"]


@dataclass(frozen=True)
class Configured:
    """An archive that was given other settings.

    Args:
        path: It.
        lost_signature: Whether the one that it was made of was signed, and it is not.
    """

    path: Path
    lost_signature: bool


def configure_archive(
    path: str | Path, config: str | Path, target: str | Path | None = None, *, sign: str | Path | None = None
) -> Configured:
    """Copy an archive with another model-config.yaml; it becomes what it were if it had been built with it.

    A signature is of the settings, too, so the copy has none but by `sign`.

    Args:
        path: A `.mar`, a `.tar.gz` or a directory.
        config: The model-config.yaml.
        target: Where the copy goes, in the form that its name asks for; by default in the archive's place.
            What is there is replaced whole.
        sign: A private key's file, as for `build_archive`.

    Raises:
        ArtifactError: It is no archive.
        ExportError: It is not what was built, the settings or the key can't be used, or the copy can't be
            written; nothing half-written is left.
    """
    path, config = Path(path), Path(config)
    target = path if target is None else Path(target)
    key = None if sign is None else read_private_key(Path(sign))
    with open_archive(path) as archive:
        manifest = manifest_of(archive.files)
        sealed = sealed_members(manifest)
        text, _ = read_config(config, ours=sealed is not None)
        if sealed is not None:
            require_as_built(path, "is left as it is")
        elif key is not None and target.suffix not in (".mar", ".gz"):
            raise ExportError(f"{path} has no hashes to sign: build it with `torchtowers archive build`")
        was_signed = _is_signed(archive)
        members = _members(archive, manifest, sealed, text)
        if key is not None and sealed is not None:
            seal = members[MANIFEST].source
            assert isinstance(seal, bytes)
            members[MANIFEST_SIGNATURE] = Member.of(signed_manifest(key, seal))
        moment = created(manifest) if sealed is not None else FIRST_MOMENT
        write_archive(target, members, moment, force=True)
    if key is None or target.is_dir():
        remove_signature(target)
    else:
        sign_file(key, target)
    return Configured(target, was_signed and key is None)


def _members(
    archive: OpenArchive, manifest: dict[str, Any], sealed: Mapping[str, str] | None, text: bytes
) -> dict[str, Member]:
    files = archive.files
    config = Member.of(text)
    model = manifest.get("model")
    if not isinstance(model, dict):
        raise ExportError(f"model in {MANIFEST}: expected a mapping: package the archive again")
    name = model.setdefault("configFile", CONFIG)
    if sealed is None:
        other = next((entry for entry in archive.entries if entry.form not in ("file", "folder")), None)
        if other is not None:
            raise ExportError(f"{archive.path}: {other.name} is a {other.form}, which no copy is made of")
        hashes = {member: entry.sha256() for member, entry in files.items() if member != MANIFEST_SIGNATURE}
    else:
        hashes = dict(sealed)
        manifest["torchtowers"]["members"] = dict(sorted({**hashes, name: config.sha256}.items()))
    members = {member: Member(files[member], sha256) for member, sha256 in hashes.items() if member in files}
    seal = (json.dumps(manifest, indent=2) + "\n").encode()
    return {**members, name: config, MANIFEST: Member.of(seal)}


def _is_signed(archive: OpenArchive) -> bool:
    return MANIFEST_SIGNATURE in archive.files or signature_of(archive.path).exists()
