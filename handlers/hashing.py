"""A token's hash: the same in every process, on every machine and in every version."""

import hashlib

__all__ = ["hash_of"]


def hash_of(token: str, salt: str = "") -> int:
    """Hash a token to 64 bits: BLAKE2b (RFC 7693) of 8 bytes over its UTF-8, little-endian.

    Args:
        token: Any text.
        salt: Makes another hash of it; for a feature that shares its table with others.
    """
    # A lone surrogate, which JSON may escape, is text too.
    text = token.encode("utf-8", "surrogatepass")
    if salt:
        text = salt.encode("utf-8", "surrogatepass") + b"\0" + text
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")
