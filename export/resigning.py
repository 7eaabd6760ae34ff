"""Signing an archive that is built already; it becomes what it were if it had been built signed."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torchtowers.export.errors import ExportError
from torchtowers.export.layouts import replaced_file, write_archive
from torchtowers.export.members import Member, Moment
from torchtowers.export.opened import open_archive
from torchtowers.export.signing import read_private_key, sign_file, signed_manifest
from torchtowers.export.verify import manifest_of, verify_archive
from torchtowers.handlers.seal import MANIFEST, MANIFEST_SIGNATURE, sealed_members

__all__ = ["created", "require_as_built", "sign_archive"]

_CREATED = re.compile(r"(\d\d)/(\d\d)/(\d{4}) (\d\d):(\d\d):(\d\d)")


def sign_archive(path: str | Path, key: str | Path) -> list[Path]:
    """Sign an archive's manifest inside it, and the whole file in a `.sig` beside it.

    An archive that another tool built has no hashes in its manifest: it gets the `.sig` only, which a worker
    can't check.

    Args:
        path: A `.mar` or `.tar.gz`; or a directory, which gets no `.sig` beside it.
        key: A private key's file.

    Returns:
        The files that were written.

    Raises:
        ArtifactError: It is no archive.
        ExportError: It is not what was built, the key can't be read, or a file can't be written.
    """
    path = Path(path)
    private_key = read_private_key(Path(key))
    with open_archive(path) as archive:
        files = archive.files
        manifest = manifest_of(files)
        sealed = sealed_members(manifest)
        if sealed is None:
            if archive.form == "folder":
                raise ExportError(f"{path} has no hashes to sign: build it with `torchtowers archive build`")
            return [sign_file(private_key, path)]
        require_as_built(path, "is not signed")
        text = files[MANIFEST].read()
        signature = signed_manifest(private_key, text)
        if archive.form == "folder":
            with replaced_file(path / MANIFEST_SIGNATURE) as file:
                file.write(signature)
            return [path / MANIFEST_SIGNATURE]
        members = {name: Member(files[name], sha256) for name, sha256 in sealed.items()}
        members |= {MANIFEST: Member.of(text), MANIFEST_SIGNATURE: Member.of(signature)}
        write_archive(path, members, created(manifest), force=True)
    return [path, sign_file(private_key, path)]


def require_as_built(path: Path, refused: str) -> None:
    """Refuse to give an archive a new seal that is not what its old one says.

    Args:
        path: The archive.
        refused: What then isn't done with it, such as `is not signed`.

    Raises:
        ExportError: It is not what was built.
    """
    found = verify_archive(path)
    if found:
        raise ExportError(f"{path} {refused}: {found[0].member or path.name}: {found[0].text}")


def created(manifest: Mapping[str, Any]) -> Moment:
    """Give the time that `archive build` wrote into a manifest.

    Raises:
        ExportError: There is none as it writes it.
    """
    found = _CREATED.fullmatch(str(manifest.get("createdOn")))
    if not found:
        raise ExportError(f"createdOn in {MANIFEST}: expected a date as `archive build` writes it")
    day, month, year, hour, minute, second = map(int, found.groups())
    return year, month, day, hour, minute, second
