"""Ed25519 signatures of archives: what is signed, and how a signature is checked."""

import base64
import hashlib
import importlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torchtowers.handlers.errors import ArtifactError, RuntimeUnavailableError, UntrustedError, shorten

__all__ = ["SUFFIX", "key_id", "read_public_keys", "sign_statement", "statement", "verify_signature"]

SUFFIX = ".sig"
_FORMAT_VERSION = 1
_ALGORITHM = "ed25519"
_PEM = re.compile(rb"-----BEGIN PUBLIC KEY-----.*?-----END PUBLIC KEY-----", re.DOTALL)
_MOST_BYTES = 1 << 16


def statement(kind: str, sha256: str) -> bytes:
    """Give the bytes that a key signs; the kind keeps a manifest's signature from passing for a file's.

    Args:
        kind: `archive` or `manifest`.
        sha256: Of the file's content, in hexadecimal; a file of any size is signed in little memory.
    """
    return f"torchtowers {kind} {_FORMAT_VERSION}\nsha256 {sha256}\n".encode()


def key_id(raw: bytes) -> str:
    """Name a public key of 32 bytes: the first 16 hexadecimal digits of its sha256."""
    return hashlib.sha256(raw).hexdigest()[:16]


def sign_statement(private_key: Any, kind: str, sha256: str) -> bytes:
    """Give a `.sig` file's content, the same for the same key and file.

    Args:
        private_key: An `Ed25519PrivateKey`.
        kind: `archive` or `manifest`.
        sha256: Of what is signed.
    """
    content = {
        "format_version": _FORMAT_VERSION,
        "algorithm": _ALGORITHM,
        "kind": kind,
        "sha256": sha256,
        "key": key_id(private_key.public_key().public_bytes_raw()),
        "signature": base64.b64encode(private_key.sign(statement(kind, sha256))).decode(),
    }
    return (json.dumps(content, indent=2) + "\n").encode()


def read_public_keys(path: Path) -> Mapping[str, Any]:
    """Read the Ed25519 public keys of a PEM file, by their ids; several are for the time of a key's change.

    Raises:
        ArtifactError: The file can't be read or holds no such key.
        RuntimeUnavailableError: The library `cryptography` is not installed.
    """
    try:
        with path.open("rb") as file:
            blocks = _PEM.findall(file.read(_MOST_BYTES))
    except OSError as error:
        raise ArtifactError(f"public key {path} can't be read: {error.strerror or error}") from error
    if not blocks:
        raise ArtifactError(
            f"{path} holds no public key: expected PEM, as `torchtowers archive keygen` writes it to KEY.pub"
        )
    serialization, ed25519 = _cryptography()
    keys = {}
    for block in blocks:
        try:
            key = serialization.load_pem_public_key(block)
        except ValueError as error:
            raise ArtifactError(f"{path} holds a public key that can't be read") from error
        if not isinstance(key, ed25519.Ed25519PublicKey):
            raise ArtifactError(f"{path} holds a {type(key).__name__}: expected one for Ed25519")
        keys[key_id(key.public_bytes_raw())] = key
    return keys


def verify_signature(document: bytes, kind: str, sha256: str, keys: Mapping[str, Any]) -> str:
    """Check a `.sig` file's content.

    Args:
        document: The content.
        kind: What it has to be of: `archive` or `manifest`.
        sha256: Of what it has to be of.
        keys: The public keys that are trusted, by id.

    Returns:
        The id of the key that signed.

    Raises:
        UntrustedError: It is malformed, of another file, by another key, or wrong.
    """
    content = _parse(document)
    if content.get("kind") != kind or content.get("sha256") != sha256:
        raise UntrustedError(
            f"the signature is of another {kind}: it is for {shorten(content.get('kind'))} of sha256 "
            f"{shorten(content.get('sha256'))}, this one's is {sha256}"
        )
    name = str(content["key"])
    if name not in keys:
        raise UntrustedError(
            f"signed by key {shorten(name)}, which is not trusted here; trusted: {', '.join(keys)}"
        )
    try:
        keys[name].verify(base64.b64decode(content["signature"], validate=True), statement(kind, sha256))
    except Exception as error:  # cryptography's InvalidSignature, which is imported nowhere else
        raise UntrustedError(f"the signature is wrong: key {name} has not made it for this {kind}") from error
    return name


def _parse(document: bytes) -> dict[str, Any]:
    try:
        content = json.loads(document)
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict) or not isinstance(content.get("key"), str):
        raise UntrustedError("the signature is no JSON as `torchtowers archive sign` writes it")
    version, algorithm = content.get("format_version"), content.get("algorithm")
    if version != _FORMAT_VERSION or algorithm != _ALGORITHM:
        raise UntrustedError(
            f"the signature is of format version {shorten(version)} and {shorten(algorithm)}, this code "
            f"reads {_FORMAT_VERSION} and {_ALGORITHM}; check it with the torchtowers version that signed"
        )
    return content


def _cryptography() -> tuple[Any, Any]:
    # Not by a statement: a worker's environment has it only where signatures are checked.
    primitives = "cryptography.hazmat.primitives"
    try:
        serialization = importlib.import_module(f"{primitives}.serialization")
        ed25519 = importlib.import_module(f"{primitives}.asymmetric.ed25519")
    except ImportError as error:
        raise RuntimeUnavailableError(
            f"a public key is configured and checking signatures needs cryptography ({error}): "
            "pip install cryptography, or 'torchtowers[release]'"
        ) from error
    return serialization, ed25519
