"""Checks the signatures of archives before a server loads them, and so before any of their code runs."""

import os
from collections.abc import Iterable
from pathlib import Path

from torchtowers.handlers.errors import UntrustedError
from torchtowers.handlers.seal import PUBLIC_KEY, verify_members, verify_signer
from torchtowers.handlers.signature import sha256_of
from torchtowers.handlers.signing import SUFFIX, read_public_keys, verify_signature
from torchtowers.serving.archives import Archive
from torchtowers.serving.errors import ServingError

__all__ = ["require_signed"]


def require_signed(model_store: Path, archives: Iterable[Archive]) -> None:
    """Require a `.sig` beside every archive where the environment's TORCHTOWERS_PUBLIC_KEY names a key.

    A directory has none: its manifest has to be signed, and its files to be what the manifest says.

    Raises:
        ServingError: The key's path is relative, so that a worker would not find it.
        UntrustedError: An archive is not signed by that key.
        ArtifactError: The key can't be read.
        RuntimeUnavailableError: The library `cryptography` is not installed.
    """
    configured = os.environ.get(PUBLIC_KEY)
    if not configured:
        return
    if not Path(configured).is_absolute():
        raise ServingError(
            f"{PUBLIC_KEY}: expected an absolute path, as workers run in other folders, got {configured}"
        )
    keys = read_public_keys(Path(configured))
    for archive in archives:
        path = model_store / archive.file
        if path.is_dir():
            verify_signer(path)
            verify_members(path)
            continue
        signature = path.with_name(path.name + SUFFIX)
        if not signature.is_file():
            raise UntrustedError(
                f"{path} is not signed: {signature.name} is missing beside it, and {PUBLIC_KEY} asks for it; "
                "sign it with `torchtowers archive sign`"
            )
        try:
            verify_signature(signature.read_bytes(), "archive", sha256_of(path), keys)
        except UntrustedError as error:
            raise UntrustedError(f"{path}: {error} ({PUBLIC_KEY} is {configured})") from error
