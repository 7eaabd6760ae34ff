"""Ids and categories, one a value: by vocabulary or hashed."""

from typing import Any, ClassVar

from torchtowers.handlers.checks import TOKEN, check_positive, token_or_missing
from torchtowers.handlers.encoder import IndexEncoder
from torchtowers.handlers.hashing import hash_of
from torchtowers.handlers.vocabulary import MISSING, UNKNOWN, Vocabulary

__all__ = ["HashedTokenEncoder", "TokenEncoder", "UnifiedTokenEncoder"]

# Values of the prime field that the hash of a unified table computes in, `models/unified_embedding.py`.
_FINGERPRINTS = 2**31 - 1


class TokenEncoder(IndexEncoder):
    """An id or a category: one token of a vocabulary; unknown ones take a row for unknown tokens.

    Args:
        vocabulary: The tokens.
        oov_buckets: Rows for unknown tokens, which a hash divides among them. The first one is row 1; the
            others are behind the tokens.
    """

    kind: ClassVar[str] = "token"
    dtype: ClassVar[str] = "string"
    expected: ClassVar[str] = TOKEN
    out_of_vocabulary: ClassVar[str] = "unknown_row"

    def __init__(self, vocabulary: Vocabulary, oov_buckets: int = 1) -> None:
        self.vocabulary = vocabulary
        self.oov_buckets = check_positive("oov_buckets", oov_buckets)

    @property
    def size(self) -> int:
        """Tokens, missing and the buckets for unknown ones."""
        return self.vocabulary.size + self.oov_buckets - 1

    def encode_value(self, value: object, field: str) -> int:
        """Encode a string or an integer; None and the empty string are missing."""
        token = token_or_missing(value, field)
        if not token:
            return MISSING
        index = self.vocabulary.index(token)
        if index != UNKNOWN or self.oov_buckets == 1:
            return index
        bucket = hash_of(token) % self.oov_buckets
        return UNKNOWN if bucket == 0 else self.vocabulary.size + bucket - 1

    def to_json(self) -> dict[str, Any]:
        """Describe the encoder for a signature."""
        return {"kind": self.kind, "oov_buckets": self.oov_buckets}


class HashedTokenEncoder(IndexEncoder):
    """An id or a category by its hash: no vocabulary, and tokens may share a row.

    Args:
        buckets: Rows that tokens are divided among.
    """

    kind: ClassVar[str] = "hashed_token"
    dtype: ClassVar[str] = "string"
    expected: ClassVar[str] = TOKEN
    out_of_vocabulary: ClassVar[str] = "hashed"

    def __init__(self, buckets: int) -> None:
        self.buckets = check_positive("buckets", buckets)

    @property
    def size(self) -> int:
        """The buckets, and the row for missing."""
        return self.buckets + 1

    def encode_value(self, value: object, field: str) -> int:
        """Encode a string or an integer; None and the empty string are missing."""
        token = token_or_missing(value, field)
        return 1 + hash_of(token) % self.buckets if token else MISSING

    def to_json(self) -> dict[str, Any]:
        """Describe the encoder for a signature."""
        return {"kind": self.kind, "buckets": self.buckets}


class UnifiedTokenEncoder(IndexEncoder):
    """An id or a category of a table that several features share, as a fingerprint that the model hashes.

    Source: Coleman et al. 2023, "Unified Embedding". The several hashes of a fingerprint are computed by
    `UnifiedEmbedding`, in integers, and so the same in every runtime.

    Args:
        buckets: Rows of the shared table.
        hashes: Rows that are put together to a token's embedding.
        salt: Keeps the same token of different features apart: the feature's name.
    """

    kind: ClassVar[str] = "unified_token"
    dtype: ClassVar[str] = "string"
    expected: ClassVar[str] = TOKEN
    out_of_vocabulary: ClassVar[str] = "hashed"

    def __init__(self, buckets: int, hashes: int, salt: str) -> None:
        self.buckets = check_positive("buckets", buckets)
        self.hashes = check_positive("hashes", hashes)
        if not isinstance(salt, str) or not salt:
            raise ValueError(f"salt has to be a text that is not empty, got {salt!r:.80}")
        self.salt = salt

    @property
    def size(self) -> int:
        """The fingerprints, and missing."""
        return _FINGERPRINTS

    def encode_value(self, value: object, field: str) -> int:
        """Encode a string or an integer; None and the empty string are missing."""
        token = token_or_missing(value, field)
        return 1 + hash_of(token, self.salt) % (_FINGERPRINTS - 1) if token else MISSING

    def to_json(self) -> dict[str, Any]:
        """Describe the encoder for a signature."""
        return {"kind": self.kind, "buckets": self.buckets, "hashes": self.hashes, "salt": self.salt}
