"""Raw values to integer tensors: the one implementation that training, serving and export share.

Index 0 stands for a missing value and for padding, index 1 for a token that the vocabulary does not know;
known tokens begin at 2. Encoders with a scalar shape give int64 `[batch]`; those with a list shape give
int64 `[batch, length]`, padded with 0 to the longest list of the batch and to a length of at least 1.
"""

import json
import math
import re
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from torchtowers.handlers.errors import ArtifactError, FieldError, SignatureError

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
    "token_of",
    "words_of",
]

MISSING = 0
UNKNOWN = 1
FIRST_TOKEN = 2

Indices = NDArray[np.int64]
_WORD = re.compile(r"\w+")


def token_of(value: object) -> str | None:
    """Give the canonical token of an id: a string as it is, an integer in decimals; None where it is neither."""
    if isinstance(value, str):
        return value
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        return str(value)
    return None


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


class Vocabulary:
    """Tokens in a fixed order, and their indices from 2 on.

    Args:
        tokens: Distinct tokens.
    """

    def __init__(self, tokens: Iterable[str]) -> None:
        self.tokens = tuple(tokens)
        self._index = {token: index for index, token in enumerate(self.tokens, start=FIRST_TOKEN)}
        if len(self._index) != len(self.tokens):
            raise ValueError(
                f"a vocabulary of {len(self.tokens)} tokens has {len(self._index)} distinct ones"
            )

    @property
    def size(self) -> int:
        """Number of rows that an embedding table needs: the tokens, and those for missing and unknown."""
        return len(self.tokens) + FIRST_TOKEN

    def index(self, token: str) -> int:
        """Give the token's index, or `UNKNOWN`."""
        return self._index.get(token, UNKNOWN)

    def __contains__(self, token: object) -> bool:
        return token in self._index

    def save(self, path: Path) -> None:
        """Write the tokens as a JSON list of strings, one a line."""
        lines = ",\n".join(json.dumps(token, ensure_ascii=False) for token in self.tokens)
        path.write_text(f"[\n{lines}\n]\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> "Vocabulary":
        """Read what `save` wrote.

        Raises:
            ArtifactError: The file is missing or is not a JSON list of distinct strings.
        """
        try:
            tokens = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ArtifactError(f"vocabulary {path.name} can't be read: {error}") from error
        if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
            raise ArtifactError(f"vocabulary {path.name}: expected a JSON list of strings")
        try:
            return cls(tokens)
        except ValueError as error:
            raise ArtifactError(f"vocabulary {path.name}: {error}") from error


@runtime_checkable
class Encoder(Protocol):
    """What every encoder can do; `kind` names it in a signature."""

    kind: ClassVar[str]
    dtype: ClassVar[str]
    is_list: ClassVar[bool]
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

    def encode_value(self, value: object, field: str) -> list[int]:
        raise NotImplementedError

    def encode(self, values: Sequence[object]) -> Indices:
        """Encode a column to int64 `[batch, length]`."""
        return pad([self.encode_value(value, "value") for value in values])


class TokenEncoder(_ScalarEncoder):
    """An id or a category: one token of a vocabulary; an unknown one takes the row for unknown tokens."""

    kind: ClassVar[str] = "token"
    dtype: ClassVar[str] = "string"
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
            raise FieldError(field, value, "a string or an integer")
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
    dtype: ClassVar[str] = "string"
    out_of_vocabulary: ClassVar[str] = "left_out"

    def __init__(self, vocabulary: Vocabulary, max_length: int) -> None:
        self.vocabulary = vocabulary
        self.max_length = max_length

    @property
    def size(self) -> int:
        """Tokens, missing and unknown."""
        return self.vocabulary.size

    def encode_value(self, value: object, field: str) -> list[int]:
        """Encode a list of strings or integers; None is an empty list."""
        return self.indices(value, field)[-self.max_length :]

    def indices(self, value: object, field: str) -> list[int]:
        """Encode like `encode_value`, and keep all of a list longer than `max_length`."""
        if value is None:
            return []
        if not isinstance(value, list | tuple):
            raise FieldError(field, value, "a list of strings or integers")
        indices = []
        for position, element in enumerate(value):
            token = token_of(element)
            if token is None:
                raise FieldError(f"{field}[{position}]", element, "a string or an integer")
            index = self.vocabulary.index(token)
            if index != UNKNOWN:
                indices.append(index)
        return indices

    def to_json(self) -> dict[str, Any]:
        """Describe the encoder for a signature."""
        return {"kind": self.kind, "max_length": self.max_length}


class WordsEncoder(_ListEncoder):
    """A text as the list of its known words.

    Args:
        vocabulary: The words, in lower case.
        max_length: Of a longer text the first words are kept.
    """

    kind: ClassVar[str] = "words"
    dtype: ClassVar[str] = "string"
    out_of_vocabulary: ClassVar[str] = "left_out"

    def __init__(self, vocabulary: Vocabulary, max_length: int) -> None:
        self.vocabulary = vocabulary
        self.max_length = max_length

    @property
    def size(self) -> int:
        """Words, missing and unknown."""
        return self.vocabulary.size

    def encode_value(self, value: object, field: str) -> list[int]:
        """Encode a string; None is a text without words."""
        if value is None:
            return []
        if not isinstance(value, str):
            raise FieldError(field, value, "a string")
        indices = [self.vocabulary.index(word) for word in words_of(value)]
        return [index for index in indices if index != UNKNOWN][: self.max_length]

    def to_json(self) -> dict[str, Any]:
        """Describe the encoder for a signature."""
        return {"kind": self.kind, "max_length": self.max_length}


class BucketEncoder(_ScalarEncoder):
    """A number as the interval between ascending boundaries that it falls into.

    Args:
        boundaries: Ascending; bucket i holds `boundaries[i-1] <= value < boundaries[i]`.
    """

    kind: ClassVar[str] = "buckets"
    dtype: ClassVar[str] = "number"
    out_of_vocabulary: ClassVar[str] = "outermost_bucket"

    def __init__(self, boundaries: Sequence[float]) -> None:
        if not boundaries or any(low >= high for low, high in zip(boundaries, boundaries[1:], strict=False)):
            raise ValueError(f"boundaries have to ascend and not be empty, got {list(boundaries)}")
        self.boundaries = tuple(boundaries)

    @property
    def size(self) -> int:
        """One more bucket than boundaries, and the row for missing."""
        return len(self.boundaries) + 2

    def encode_value(self, value: object, field: str) -> int:
        """Encode a finite number; None is missing."""
        if value is None:
            return MISSING
        number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
        if not number or not math.isfinite(value):  # type: ignore[arg-type]
            raise FieldError(field, value, "a finite number")
        return 1 + bisect_right(self.boundaries, value)  # type: ignore[type-var]

    def to_json(self) -> dict[str, Any]:
        """Describe the encoder for a signature."""
        return {"kind": self.kind, "boundaries": list(self.boundaries)}


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
        raise SignatureError(f"encoder {kind!r} in the signature is malformed: {error}") from error
    raise SignatureError(f"unknown encoder {kind!r}; this version knows token, token_list, words, buckets")
