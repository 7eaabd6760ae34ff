"""Keys for archives, and signing with them: the manifest inside, and the whole file in a `.sig` beside it."""

import hashlib
import os
from pathlib import Path
from typing import Any

from torchtowers.export.errors import ExportError
from torchtowers.export.layouts import replaced_file
from torchtowers.handlers.signature import sha256_of
from torchtowers.handlers.signing import SUFFIX, key_id, sign_statement

__all__ = [
    "generate_key",
    "read_private_key",
    "remove_signature",
    "sign_file",
    "signature_of",
    "signed_manifest",
]


def generate_key(path: Path) -> str:
    """Make a key: `path`, for its owner's eyes only, and `path.pub`, for all who check; both in PEM.

    Returns:
        The key's id.

    Raises:
        ExportError: One of the files exists, or can't be written, or `cryptography` is not installed.
    """
    serialization, ed25519 = _cryptography()
    public = path.with_name(path.name + ".pub")
    for file in (path, public):
        if file.exists():
            raise ExportError(f"{file} exists: a key is never replaced; choose another name or move it away")
    key = ed25519.Ed25519PrivateKey.generate()
    private_text = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public_text = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    for file, text, mode in ((path, private_text, 0o600), (public, public_text, 0o644)):
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as opened:
                opened.write(text)
        except OSError as error:
            raise ExportError(f"{file} can't be written: {error.strerror or error}") from error
    return key_id(key.public_key().public_bytes_raw())


def read_private_key(path: Path) -> Any:
    """Read an Ed25519 private key in PEM.

    Raises:
        ExportError: The file can't be read or holds no such key, or `cryptography` is not installed.
    """
    serialization, ed25519 = _cryptography()
    try:
        text = path.read_bytes()
    except OSError as error:
        raise ExportError(
            f"private key {path} can't be read: {error.strerror or error}; make one with "
            "`torchtowers archive keygen`"
        ) from error
    try:
        key = serialization.load_pem_private_key(text, password=None)
    except TypeError as error:
        raise ExportError(f"{path} is encrypted: decrypt it first, for example with openssl pkey") from error
    except ValueError as error:
        raise ExportError(f"{path} holds no private key in PEM") from error
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise ExportError(f"{path} holds a {type(key).__name__}: expected one for Ed25519")
    return key


def signature_of(archive: Path) -> Path:
    """Give the place of an archive's detached signature."""
    return archive.with_name(archive.name + SUFFIX)


def signed_manifest(key: Any, manifest: bytes) -> bytes:
    """Give the signature that travels inside the archive, for a worker never sees the archive's file."""
    return sign_statement(key, "manifest", hashlib.sha256(manifest).hexdigest())


def sign_file(key: Any, archive: Path) -> Path:
    """Write the detached signature of a whole file beside it.

    Raises:
        ExportError: It can't be written.
    """
    path = signature_of(archive)
    with replaced_file(path) as file:
        file.write(sign_statement(key, "archive", sha256_of(archive)))
    return path


def remove_signature(archive: Path) -> None:
    """Remove a detached signature that an earlier archive of the name left."""
    try:
        signature_of(archive).unlink(missing_ok=True)
    except OSError as error:
        raise ExportError(f"{signature_of(archive)} can't be removed: {error.strerror or error}") from error


def _cryptography() -> tuple[Any, Any]:
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError as error:
        raise ExportError(
            f"signing needs cryptography ({error}): pip install 'torchtowers[release]'"
        ) from error
    return serialization, ed25519
