"""Raw values to tensors: the one implementation that training, serving and export share.

Index 0 stands for a missing value and for padding. In a vocabulary, index 1 stands for a token that it does
not know, and known tokens begin at 2. Indices are int64 `[batch]`, or lists `[batch, length]`, padded with 0
to the longest of the batch and to a length of at least 1; numbers are float32 `[batch, width]`.
"""

from collections.abc import Callable, Mapping
from typing import Any

from torchtowers.handlers.encoder import DenseEncoder, Encoded, Encoder, TensorSpec, pad
from torchtowers.handlers.errors import SignatureError, shorten
from torchtowers.handlers.list_encoders import TokenListEncoder, WeightedListEncoder
from torchtowers.handlers.number_encoders import (
    BooleanEncoder,
    BucketEncoder,
    NumberEncoder,
    VectorEncoder,
    log_of,
)
from torchtowers.handlers.timestamp_encoder import TimestampEncoder, seconds_of
from torchtowers.handlers.token_encoders import HashedTokenEncoder, TokenEncoder, UnifiedTokenEncoder
from torchtowers.handlers.vocabulary import FIRST_TOKEN, MISSING, UNKNOWN, Vocabulary
from torchtowers.handlers.words_encoders import HashedWordsEncoder, WordsEncoder, words_of

# All of it is passed on from here, since `models` may import this module only.
__all__ = [
    "FIRST_TOKEN",
    "MISSING",
    "UNKNOWN",
    "BooleanEncoder",
    "BucketEncoder",
    "DenseEncoder",
    "Encoded",
    "Encoder",
    "HashedTokenEncoder",
    "HashedWordsEncoder",
    "NumberEncoder",
    "TensorSpec",
    "TimestampEncoder",
    "TokenEncoder",
    "TokenListEncoder",
    "UnifiedTokenEncoder",
    "VectorEncoder",
    "Vocabulary",
    "WeightedListEncoder",
    "WordsEncoder",
    "encoder_from_json",
    "log_of",
    "pad",
    "seconds_of",
    "tensor_names",
    "words_of",
]

_WITH_VOCABULARY: dict[str, Callable[[Mapping[str, Any], Vocabulary], Encoder]] = {
    TokenEncoder.kind: lambda spec, vocabulary: TokenEncoder(vocabulary, spec["oov_buckets"]),
    TokenListEncoder.kind: lambda spec, vocabulary: TokenListEncoder(vocabulary, spec["max_length"]),
    WeightedListEncoder.kind: lambda spec, vocabulary: WeightedListEncoder(vocabulary, spec["max_length"]),
    WordsEncoder.kind: lambda spec, vocabulary: WordsEncoder(vocabulary, spec["max_length"]),
}
_ALONE: dict[str, Callable[[Mapping[str, Any]], Encoder]] = {
    HashedTokenEncoder.kind: lambda spec: HashedTokenEncoder(spec["buckets"]),
    UnifiedTokenEncoder.kind: lambda spec: UnifiedTokenEncoder(spec["buckets"], spec["hashes"], spec["salt"]),
    HashedWordsEncoder.kind: lambda spec: HashedWordsEncoder(spec["buckets"], spec["max_length"]),
    BucketEncoder.kind: lambda spec: BucketEncoder(spec["boundaries"]),
    BooleanEncoder.kind: lambda spec: BooleanEncoder(),
    NumberEncoder.kind: lambda spec: NumberEncoder(spec["transform"], spec["mean"], spec["deviation"]),
    VectorEncoder.kind: lambda spec: VectorEncoder(spec["width"], spec["scale"]),
    TimestampEncoder.kind: lambda spec: TimestampEncoder(spec["reference"], spec["scale"], spec["unit"]),
}


def encoder_from_json(spec: Mapping[str, Any], vocabulary: Vocabulary | None) -> Encoder:
    """Make the encoder that a signature describes.

    Raises:
        SignatureError: The kind is unknown, or a setting or the vocabulary is missing.
    """
    kind = spec.get("kind")
    try:
        if isinstance(kind, str) and kind in _ALONE:
            return _ALONE[kind](spec)
        if isinstance(kind, str) and kind in _WITH_VOCABULARY:
            if vocabulary is None:
                raise KeyError("vocabulary")
            return _WITH_VOCABULARY[kind](spec, vocabulary)
    except (KeyError, TypeError, ValueError) as error:
        raise SignatureError(f"encoder {shorten(kind)} in the signature is malformed: {error}") from error
    known = ", ".join([*_WITH_VOCABULARY, *_ALONE])
    raise SignatureError(f"unknown encoder {shorten(kind)}; this version knows {known}")


def tensor_names(encoders: Mapping[str, Encoder]) -> list[str]:
    """Name the tensors that a model of these features takes, in order."""
    return [name + spec.suffix for name, encoder in encoders.items() for spec in encoder.tensors]
