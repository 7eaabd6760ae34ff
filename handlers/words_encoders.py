"""Texts as the lists of their words: by vocabulary or hashed."""

import re
from typing import Any, ClassVar

from torchtowers.handlers.checks import check_positive
from torchtowers.handlers.encoder import ListEncoder
from torchtowers.handlers.errors import FieldError
from torchtowers.handlers.hashing import hash_of
from torchtowers.handlers.vocabulary import UNKNOWN, Vocabulary

__all__ = ["HashedWordsEncoder", "WordsEncoder", "words_of"]

_WORD = re.compile(r"\w+")


def words_of(text: str) -> list[str]:
    """Split a text into lower-case words of letters, digits and underscores."""
    return _WORD.findall(text.lower())


def _words(value: object, field: str) -> list[str]:
    if value is None:
        return []
    if not isinstance(value, str):
        raise FieldError(field, value, WordsEncoder.expected)
    return words_of(value)


class WordsEncoder(ListEncoder):
    """A text as the list of its known words.

    Args:
        vocabulary: The words, in lower case.
        max_length: Of a longer text the first words are kept.
    """

    kind: ClassVar[str] = "words"
    dtype: ClassVar[str] = "string"
    expected: ClassVar[str] = "a string"
    out_of_vocabulary: ClassVar[str] = "left_out"

    def __init__(self, vocabulary: Vocabulary, max_length: int) -> None:
        self.vocabulary = vocabulary
        self.max_length = check_positive("max_length", max_length)

    @property
    def size(self) -> int:
        """Words, missing and unknown."""
        return self.vocabulary.size

    def encode_value(self, value: object, field: str) -> list[int]:
        """Encode a string; None is a text without words."""
        found = map(self.vocabulary.index, _words(value, field))
        return [index for index in found if index != UNKNOWN][: self.max_length]

    def to_json(self) -> dict[str, Any]:
        """Describe the encoder for a signature."""
        return {"kind": self.kind, "max_length": self.max_length}


class HashedWordsEncoder(ListEncoder):
    """A text as the list of its words' hashes: no vocabulary, and words may share a row.

    Args:
        buckets: Rows that words are divided among.
        max_length: Of a longer text the first words are kept.
    """

    kind: ClassVar[str] = "hashed_words"
    dtype: ClassVar[str] = "string"
    expected: ClassVar[str] = "a string"
    out_of_vocabulary: ClassVar[str] = "hashed"

    def __init__(self, buckets: int, max_length: int) -> None:
        self.buckets = check_positive("buckets", buckets)
        self.max_length = check_positive("max_length", max_length)

    @property
    def size(self) -> int:
        """The buckets, and the row for padding."""
        return self.buckets + 1

    def encode_value(self, value: object, field: str) -> list[int]:
        """Encode a string; None is a text without words."""
        return [1 + hash_of(word) % self.buckets for word in _words(value, field)[: self.max_length]]

    def to_json(self) -> dict[str, Any]:
        """Describe the encoder for a signature."""
        return {"kind": self.kind, "buckets": self.buckets, "max_length": self.max_length}
