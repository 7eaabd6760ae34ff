"""Raw values to integer tensors: the one implementation that training, serving and export share.

Index 0 stands for a missing value and for padding, index 1 for a token that the vocabulary does not know;
known tokens begin at 2. Encoders with a scalar shape give int64 `[batch]`; those with a list shape give
int64 `[batch, length]`, padded with 0 to the longest list of the batch and to a length of at least 1.
"""

import math
import re
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from torchtowers.handlers.errors import FieldError, SignatureError, shorten
from torchtowers.handlers.vocabulary import FIRST_TOKEN, MISSING, UNKNOWN, Vocabulary, token_of

# FIRST_TOKEN, MISSING, UNKNOWN and Vocabulary are passed on, since `models` may import this module only.
__all__ = [
    "FIRST_TOKEN",
    "MISSING",
    "UNKNOWN",
    "BucketEncoder",
    "Encoder",
    "TokenEncoder",
    "TokenListEncoder",
    "Vocabulary",
    "WordsEncoder",
    "encoder_from_json",
    "pad",
    "words_of",
]

Indices = NDArray[np.int64]
_WORD = re.compile(r"\w+")


def words_of(text: str) -> list[str]:
    """Split a text into lower-case words of letters, digits and underscores."""
    return _WORD.findall(text.lower())


def pad(lists: Sequence[Sequence[int]]) -> Indices:
    """Stack lists of indices to int64 `[batch, length]`, padded with 0; the length is at least 1."""
    length = max((len(row) for row in lists), default=0)
    padded = np.zeros((len(lists), max(length, 1)), dtype=np.int64)
    for row, indices in enumerate(lists):
        padded[row, : len(indices)] = indices
    return padded


@runtime_checkable
class Encoder(Protocol):
    """What every encoder can do; `kind` names it in a signature, `expected` tells a caller what it takes."""

    kind: ClassVar[str]
    dtype: ClassVar[str]
    is_list: ClassVar[bool]
    expected: ClassVar[str]
    out_of_vocabulary: ClassVar[str]

    @property
    def size(self) -> int:
        """Number of distinct indices, so of rows of an embedding table."""

    def encode_value(self, value: object, field: str) -> int | list[int]:
        """Encode one value; None is missing.

        Raises:
            FieldError: The value is of the wrong kind; `field` is named as the place.
        """

    def encode(self, values: Sequence[object]) -> Indices:
        """Encode a column to int64 `[batch]` or `[batch, length]`."""

    def to_json(self) -> dict[str, Any]:
        """Describe the encoder for a signature; vocabularies are added by file name by the caller."""


class _ScalarEncoder:
    is_list: ClassVar[bool] = False

    def encode_value(self, value: object, field: str) -> int:
        raise NotImplementedError

    def encode(self, values: Sequence[object]) -> Indices:
        """Encode a column to int64 `[batch]`."""
        return np.fromiter((self.encode_value(value, "value") for value in values), np.int64, len(values))


class _ListEncoder:
    is_list: ClassVar[bool] = True
    dtype: ClassVar[str] = "string"
    out_of_vocabulary: ClassVar[str] = "left_out"
    kind: ClassVar[str]

    def __init__(self, vocabulary: Vocabulary, max_length: int) -> None:
        if not isinstance(max_length, int) or isinstance(max_length, bool) or max_length < 1:
            raise ValueError(f"max_length has to be an integer of at least 1, got {shorten(max_length)}")
        self.vocabulary = vocabulary
        self.max_length = max_length

    @property
    def size(self) -> int:
        """Tokens, missing and unknown."""
        return self.vocabulary.size

    def encode_value(self, value: object, field: str) -> list[int]:
        raise NotImplementedError

    def encode(self, values: Sequence[object]) -> Indices:
        """Encode a column to int64 `[batch, length]`."""
        return pad([self.encode_value(value, "value") for value in values])

    def to_json(self) -> dict[str, Any]:
        """Describe the encoder for a signature."""
        return {"kind": self.kind, "max_length": self.max_length}

    def _known(self, tokens: Iterable[str]) -> list[int]:
        indices = map(self.vocabulary.index, tokens)
        return [index for index in indices if index != UNKNOWN]


class TokenEncoder(_ScalarEncoder):
    """An id or a category: one token of a vocabulary; an unknown one takes the row for unknown tokens."""

    kind: ClassVar[str] = "token"
    dtype: ClassVar[str] = "string"
    expected: ClassVar[str] = "a string or an integer"
    out_of_vocabulary: ClassVar[str] = "unknown_row"

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary

    @property
    def size(self) -> int:
        """Tokens, missing and unknown."""
        return self.vocabulary.size

    def encode_value(self, value: object, field: str) -> int:
        """Encode a string or an integer; None and the empty string are missing."""
        if value is None or value == "":
            return MISSING
        token = token_of(value)
        if token is None:
            raise FieldError(field, value, self.expected)
        return self.vocabulary.index(token)

    def to_json(self) -> dict[str, Any]:
        """Describe the encoder for a signature."""
        return {"kind": self.kind}


class TokenListEncoder(_ListEncoder):
    """A list of ids or categories, such as genres or a history; unknown tokens are left out.

    Args:
        vocabulary: The tokens.
        max_length: Of a longer list the last ones are kept.
    """

    kind: ClassVar[str] = "token_list"
    expected: ClassVar[str] = "a list of strings or integers"

    def encode_value(self, value: object, field: str) -> list[int]:
        """Encode a list of strings or integers; None is an empty list."""
        return self.indices(value, field)[-self.max_length :]

    def indices(self, value: object, field: str) -> list[int]:
        """Encode like `encode_value`, and keep all of a list longer than `max_length`."""
        if value is None:
            return []
        if not isinstance(value, list | tuple):
            raise FieldError(field, value, self.expected)
        tokens = []
        for position, element in enumerate(value):
            token = token_of(element)
            if token is None:
                raise FieldError(f"{field}[{position}]", element, TokenEncoder.expected)
            tokens.append(token)
        return self._known(tokens)


class WordsEncoder(_ListEncoder):
    """A text as the list of its known words.

    Args:
        vocabulary: The words, in lower case.
        max_length: Of a longer text the first words are kept.
    """

    kind: ClassVar[str] = "words"
    expected: ClassVar[str] = "a string"

    def encode_value(self, value: object, field: str) -> list[int]:
        """Encode a string; None is a text without words."""
        if value is None:
            return []
        if not isinstance(value, str):
            raise FieldError(field, value, self.expected)
        return self._known(words_of(value))[: self.max_length]


class BucketEncoder(_ScalarEncoder):
    """A number as the interval between ascending boundaries that it falls into.

    Args:
        boundaries: Finite and ascending; bucket i holds `boundaries[i-1] <= value < boundaries[i]`.
    """

    kind: ClassVar[str] = "buckets"
    dtype: ClassVar[str] = "number"
    expected: ClassVar[str] = "a finite number"
    out_of_vocabulary: ClassVar[str] = "outermost_bucket"

    def __init__(self, boundaries: Sequence[float]) -> None:
        finite = all(_is_finite_number(boundary) for boundary in boundaries)
        if not boundaries or not finite or any(low >= high for low, high in pairwise(boundaries)):
            raise ValueError(
                f"boundaries have to be finite, ascend and not be empty, got {shorten(boundaries)}"
            )
        self.boundaries = tuple(boundaries)

    @property
    def size(self) -> int:
        """One more bucket than boundaries, and the row for missing."""
        return len(self.boundaries) + 2

    def encode_value(self, value: object, field: str) -> int:
        """Encode a finite number; None is missing."""
        if value is None:
            return MISSING
        if not _is_finite_number(value):
            raise FieldError(field, value, self.expected)
        number: Any = value
        return 1 + bisect_right(self.boundaries, number)

    def to_json(self) -> dict[str, Any]:
        """Describe the encoder for a signature."""
        return {"kind": self.kind, "boundaries": list(self.boundaries)}


def _is_finite_number(value: object) -> bool:
    if isinstance(value, bool):
        return False
    if isinstance(value, int | np.integer):
        return True  # of any size: math.isfinite raises for an integer beyond the floats
    return isinstance(value, float | np.floating) and math.isfinite(value)


def encoder_from_json(spec: Mapping[str, Any], vocabulary: Vocabulary | None) -> Encoder:
    """Make the encoder that a signature describes.

    Raises:
        SignatureError: The kind is unknown, or a setting or the vocabulary is missing.
    """
    kind = spec.get("kind")
    try:
        if kind == BucketEncoder.kind:
            return BucketEncoder(spec["boundaries"])
        if vocabulary is None:
            raise KeyError("vocabulary")
        if kind == TokenEncoder.kind:
            return TokenEncoder(vocabulary)
        if kind == TokenListEncoder.kind:
            return TokenListEncoder(vocabulary, spec["max_length"])
        if kind == WordsEncoder.kind:
            return WordsEncoder(vocabulary, spec["max_length"])
    except (KeyError, TypeError, ValueError) as error:
        raise SignatureError(f"encoder {shorten(kind)} in the signature is malformed: {error}") from error
    raise SignatureError(
        f"unknown encoder {shorten(kind)}; this version knows token, token_list, words, buckets"
    )
