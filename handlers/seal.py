"""The seal of an archive: MAR-INF/MANIFEST.json has every member's sha256, and may be signed."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torchtowers.handlers.errors import ArtifactError, UntrustedError, shorten
from torchtowers.handlers.json_reader import inside
from torchtowers.handlers.signature import sha256_of
from torchtowers.handlers.signing import read_public_keys, verify_signature

__all__ = [
    "MANIFEST",
    "MANIFEST_SIGNATURE",
    "PUBLIC_KEY",
    "read_manifest",
    "sealed_members",
    "verify_manifest",
    "verify_members",
    "verify_signer",
]

MANIFEST = "MAR-INF/MANIFEST.json"
MANIFEST_SIGNATURE = "MAR-INF/MANIFEST.json.sig"
# The environment's: what is trusted can't be said by the archive itself.
PUBLIC_KEY = "TORCHTOWERS_PUBLIC_KEY"

_IMPORTED = (".py", ".pyc", ".so", ".pth")


def read_manifest(content: bytes) -> dict[str, Any]:
    """Parse a manifest.

    Raises:
        ArtifactError: It is no JSON object.
    """
    try:
        manifest = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ArtifactError(
            f"{MANIFEST} is no JSON ({shorten(str(error))}); build the archive again"
        ) from error
    if not isinstance(manifest, dict):
        raise ArtifactError(f"{MANIFEST} has to hold an object, got {shorten(manifest)}")
    return manifest


def sealed_members(manifest: Mapping[str, Any]) -> dict[str, str] | None:
    """Give the sha256 of every member but the manifest; None where another tool built the archive.

    Raises:
        ArtifactError: They are malformed, or name a file outside the archive.
    """
    section = manifest.get("torchtowers")
    if section is None:
        return None
    members = section.get("members") if isinstance(section, dict) else None
    if not isinstance(members, dict) or not all(isinstance(sha, str) for sha in members.values()):
        raise ArtifactError(f"torchtowers.members in {MANIFEST} has to map names to sha256; build it again")
    return {inside(name): sha for name, sha in members.items()}


def verify_members(folder: Path) -> Mapping[str, str]:
    """Compare every file of an unpacked archive with its manifest.

    Files that appeared beside them are refused where Python could import them.

    Returns:
        The hashes. There are none in an artifact's folder, nor in an archive that torch-model-archiver
        packaged: those of signature.json are left to check there.

    Raises:
        ArtifactError: A file is missing, altered or not in the manifest; the first one is named.
    """
    path = folder / MANIFEST
    if not path.is_file():
        return {}
    members = sealed_members(read_manifest(path.read_bytes()))
    if members is None:
        return {}
    for name, expected in members.items():
        try:
            found = sha256_of(folder / name) if (folder / name).is_file() else None
        except OSError as error:
            raise ArtifactError(f"{name} can't be read ({error.strerror}): let this user read it") from error
        if found is None:
            raise ArtifactError(f"{name} is missing from the archive; build it again")
        if found != expected:
            raise ArtifactError(
                f"{name} was altered: its sha256 is not the manifest's; build the archive again"
            )
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name != "__pycache__"]
        for file in files:
            name = (Path(parent) / file).relative_to(folder).as_posix()
            if file.endswith(_IMPORTED) and name not in members:
                raise ArtifactError(
                    f"{name} is not in {MANIFEST}: it was added after the build; build it again"
                )
    return members


def verify_manifest(manifest: bytes, signature: bytes | None, keys: Mapping[str, Any]) -> str:
    """Check the signature of a manifest, and so of all that it has a sha256 of.

    Returns:
        The id of the key that signed.

    Raises:
        UntrustedError: There is no signature, or not a trusted one, or the manifest has no hashes.
    """
    if sealed_members(read_manifest(manifest)) is None:
        raise UntrustedError(
            f"{MANIFEST} has no hashes to sign: build the archive with `torchtowers archive build --sign KEY`"
        )
    if signature is None:
        raise UntrustedError(
            f"the archive is not signed: {MANIFEST_SIGNATURE} is missing; sign it with "
            "`torchtowers archive sign FILE --key KEY`"
        )
    return verify_signature(signature, "manifest", hashlib.sha256(manifest).hexdigest(), keys)


def verify_signer(folder: Path) -> str | None:
    """Check an unpacked archive's signature where the environment names a public key.

    Returns:
        The id of the key that signed; None where no key is configured.

    Raises:
        ArtifactError: The archive is not signed by that key, or the key can't be read.
        RuntimeUnavailableError: The library `cryptography` is not installed.
    """
    configured = os.environ.get(PUBLIC_KEY)
    if not configured:
        return None
    try:
        manifest, sig = (
            path.read_bytes() if path.is_file() else None
            for path in (folder / MANIFEST, folder / MANIFEST_SIGNATURE)
        )
    except OSError as error:
        raise ArtifactError(f"{error.filename} can't be read: {error.strerror}") from error
    if manifest is None:
        raise UntrustedError(f"{MANIFEST} is missing and {PUBLIC_KEY} asks for a signed archive")
    try:
        return verify_manifest(manifest, sig, read_public_keys(Path(configured)))
    except UntrustedError as error:
        raise UntrustedError(f"{error} ({PUBLIC_KEY} is {configured})") from error
