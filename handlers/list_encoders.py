"""Lists of ids or categories, with weights or without."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torchtowers.handlers.checks import TOKEN, check_positive, finite_float, tokens_of_list
from torchtowers.handlers.encoder import Floats, Indices, ListEncoder, TensorSpec, pad, pad_weights
from torchtowers.handlers.errors import FieldError
from torchtowers.handlers.vocabulary import UNKNOWN, Vocabulary, token_of

__all__ = ["TokenListEncoder", "WeightedListEncoder", "pairs_of"]

# Larger ones overflow float32 where they are summed.
_LARGEST_WEIGHT = 1e30


class TokenListEncoder(ListEncoder):
    """A list of ids or categories, such as genres or a history; unknown tokens are left out.

    Args:
        vocabulary: The tokens.
        max_length: Of a longer list the last ones are kept.
    """

    kind: ClassVar[str] = "token_list"
    dtype: ClassVar[str] = "string"
    expected: ClassVar[str] = "a list of strings or integers"
    out_of_vocabulary: ClassVar[str] = "left_out"

    def __init__(self, vocabulary: Vocabulary, max_length: int) -> None:
        self.vocabulary = vocabulary
        self.max_length = check_positive("max_length", max_length)

    @property
    def size(self) -> int:
        """Tokens, missing and unknown."""
        return self.vocabulary.size

    def encode_value(self, value: object, field: str) -> list[int]:
        """Encode a list of strings or integers; None is an empty list."""
        return self.indices(value, field)[-self.max_length :]

    def indices(self, value: object, field: str) -> list[int]:
        """Encode like `encode_value`, and keep all of a list longer than `max_length`."""
        found = map(self.vocabulary.index, tokens_of_list(value, field, self.expected))
        return [index for index in found if index != UNKNOWN]

    def to_json(self) -> dict[str, Any]:
        """Describe the encoder for a signature."""
        return {"kind": self.kind, "max_length": self.max_length}


class WeightedListEncoder:
    """A list of ids or categories with a weight each; unknown tokens are left out.

    Args:
        vocabulary: The tokens.
        max_length: Of a longer list the last ones are kept.
    """

    kind: ClassVar[str] = "weighted_list"
    dtype: ClassVar[str] = "string"
    is_list: ClassVar[bool] = True
    expected: ClassVar[str] = "an object of weights by token, or a list of [token, weight]"
    out_of_vocabulary: ClassVar[str] = "left_out"

    def __init__(self, vocabulary: Vocabulary, max_length: int) -> None:
        self.vocabulary = vocabulary
        self.max_length = check_positive("max_length", max_length)

    @property
    def size(self) -> int:
        """Tokens, missing and unknown."""
        return self.vocabulary.size

    @property
    def tensors(self) -> tuple[TensorSpec, ...]:
        """Indices, int64 `[batch, length]`, and their weights, float32 `[batch, length]`."""
        shape = ("batch", "length")
        return (TensorSpec("", "int64", shape), TensorSpec(".weight", "float32", shape))

    def encode_value(self, value: object, field: str) -> tuple[list[int], list[float]]:
        """Encode `{token: weight}` or `[[token, weight], …]`; None is an empty list."""
        known = [
            (index, weight)
            for token, weight in pairs_of(value, field)
            if (index := self.vocabulary.index(token)) != UNKNOWN
        ][-self.max_length :]
        return [index for index, _ in known], [weight for _, weight in known]

    def stack(self, encoded: Sequence[tuple[list[int], list[float]]]) -> tuple[Indices, Floats]:
        """Make a batch: int64 and float32 `[batch, length]`, padded with 0."""
        return pad([indices for indices, _ in encoded]), pad_weights([weights for _, weights in encoded])

    def to_json(self) -> dict[str, Any]:
        """Describe the encoder for a signature."""
        return {"kind": self.kind, "max_length": self.max_length}


def pairs_of(value: object, field: str) -> list[tuple[str, float]]:
    """Give the tokens and weights of `{token: weight}` or `[[token, weight], …]`; None is an empty list.

    Raises:
        FieldError: It is neither, a token is none, or a weight is not finite or too large.
    """
    if value is None:
        return []
    if isinstance(value, Mapping):
        given = [(f"{field}[{number}]", pair) for number, pair in enumerate(value.items())]
    elif isinstance(value, list | tuple):
        given = [(f"{field}[{number}]", pair) for number, pair in enumerate(value)]
    else:
        raise FieldError(field, value, WeightedListEncoder.expected)
    return [_pair(pair, place) for place, pair in given]


def _pair(pair: object, place: str) -> tuple[str, float]:
    if not isinstance(pair, list | tuple) or len(pair) != 2:
        raise FieldError(place, pair, "a pair of a token and a weight")
    token, weight = token_of(pair[0]), finite_float(pair[1])
    if token is None:
        raise FieldError(place, pair[0], TOKEN)
    if weight is None or abs(weight) > _LARGEST_WEIGHT:
        raise FieldError(place, pair[1], "a finite weight")
    return token, weight
