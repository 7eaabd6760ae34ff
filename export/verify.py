"""Whether an archive is what was built, and who signed it: hashes, layout, signatures."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torchtowers.export.findings import Finding
from torchtowers.export.layout import layout_findings
from torchtowers.export.lint_names import name_findings, size_findings
from torchtowers.export.opened import Entry, OpenArchive, open_archive
from torchtowers.export.signing import signature_of
from torchtowers.handlers.combined_signature import any_signature
from torchtowers.handlers.errors import ArtifactError, UntrustedError
from torchtowers.handlers.seal import (
    MANIFEST,
    MANIFEST_SIGNATURE,
    read_manifest,
    sealed_members,
    verify_manifest,
)
from torchtowers.handlers.signature import FILE_NAME, sha256_of
from torchtowers.handlers.signing import read_public_keys, verify_signature

__all__ = ["content_findings", "manifest_of", "verify_archive"]


def verify_archive(path: str | Path, public_key: str | Path | None = None) -> list[Finding]:
    """Check every member's sha256, the layout, and the signatures where a key is given.

    Args:
        path: A `.mar`, a `.tar.gz` or a directory.
        public_key: A file of keys that are trusted; the archive then has to be signed by one of them, and a
            `.sig` beside it has to be of this very file.

    Returns:
        What is wrong; nothing if the archive is what was built.

    Raises:
        ArtifactError: The key can't be read.
        RuntimeUnavailableError: A key is given and `cryptography` is not installed.
    """
    path = Path(path)
    keys = None if public_key is None else read_public_keys(Path(public_key))
    try:
        with open_archive(path) as archive:
            found = [*size_findings(archive), *name_findings(archive), *layout_findings(archive)]
            if not found:
                manifest = manifest_of(archive.files)
                found += content_findings(archive, manifest)
                is_signed = keys is not None and _has_signature_beside(archive)
                # What another tool built can be trusted as a whole file only.
                if sealed_members(manifest) is None and not is_signed:
                    text = "it has no hashes of members: build with `torchtowers archive build`"
                    found.append(Finding("no-hashes", MANIFEST, text))
                if keys is not None:
                    found += _signed(archive, manifest, keys)
    except ArtifactError as error:
        return [Finding("unreadable", "", str(error))]
    return found


def manifest_of(files: Mapping[str, Entry]) -> dict[str, Any]:
    """Read the manifest.

    Raises:
        ArtifactError: It is missing, damaged or no JSON object.
    """
    if MANIFEST not in files:
        raise ArtifactError(f"{MANIFEST} is missing: package the archive again")
    return read_manifest(files[MANIFEST].read())


def content_findings(archive: OpenArchive, manifest: Mapping[str, Any]) -> Iterator[Finding]:
    """Compare every member with the hashes of the manifest and of signature.json, where there are some."""
    files = archive.files
    hashed: dict[str, str] = {}
    for name, entry in files.items():
        try:
            hashed[name] = entry.sha256()
        except ArtifactError as error:
            yield Finding("damaged", name, f"{error}; build the archive again")
    try:
        sealed = sealed_members(manifest)
    except ArtifactError as error:
        yield Finding("manifest", MANIFEST, str(error))
        sealed = None
    if sealed is not None:
        yield from _compared(hashed, sealed, files, MANIFEST)
        for name in files.keys() - sealed.keys() - {MANIFEST, MANIFEST_SIGNATURE}:
            yield Finding("unlisted", name, f"it is not in {MANIFEST}: it was added after the build")
    if FILE_NAME in files:
        try:
            signature = any_signature(json.loads(files[FILE_NAME].read()))
        except (ArtifactError, ValueError, RecursionError) as error:
            yield Finding("signature", FILE_NAME, str(error))
            return
        for name in sorted(signature.used_files() - signature.files.keys()):
            yield Finding("signature", name, f"{FILE_NAME} has no sha256 for it: export it again")
        yield from _compared(hashed, signature.files, files, FILE_NAME)


def _compared(
    hashed: Mapping[str, str], expected: Mapping[str, str], files: Mapping[str, Entry], of: str
) -> Iterator[Finding]:
    for name, sha256 in expected.items():
        if name not in files:
            yield Finding("missing-file", name, f"{of} lists it: build the archive again")
        elif name in hashed and hashed[name] != sha256:
            yield Finding("altered", name, f"its sha256 is not the one in {of}: build the archive again")


def _has_signature_beside(archive: OpenArchive) -> bool:
    return archive.form != "folder" and signature_of(archive.path).exists()


def _signed(archive: OpenArchive, manifest: Mapping[str, Any], keys: Mapping[str, Any]) -> Iterator[Finding]:
    files = archive.files
    inside = files.get(MANIFEST_SIGNATURE)
    if sealed_members(manifest) is not None:
        try:
            verify_manifest(files[MANIFEST].read(), None if inside is None else inside.read(), keys)
        except UntrustedError as error:
            yield Finding("untrusted", MANIFEST_SIGNATURE, str(error))
    if not _has_signature_beside(archive):
        return
    beside = signature_of(archive.path)
    try:
        verify_signature(beside.read_bytes(), "archive", sha256_of(archive.path), keys)
    except UntrustedError as error:
        yield Finding("untrusted", beside.name, str(error))
