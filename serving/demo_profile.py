"""What is known of a user, back from encoded to what people read."""

import math
from typing import Any

from torchtowers.handlers.encoders import (
    FIRST_TOKEN,
    BooleanEncoder,
    BucketEncoder,
    Encoded,
    Encoder,
    NumberEncoder,
    TimestampEncoder,
    TokenEncoder,
    TokenListEncoder,
    VectorEncoder,
    WeightedListEncoder,
)

__all__ = ["field_of", "readable"]

_MOST_CHOICES = 50


def readable(encoder: Encoder, value: Encoded) -> str | None:
    """Give an encoded value as text; None where it is missing, or where encoding can't be turned around."""
    match encoder:
        case TokenEncoder() if isinstance(value, int):
            tokens = encoder.vocabulary.tokens
            return tokens[value - FIRST_TOKEN] if 0 <= value - FIRST_TOKEN < len(tokens) else None
        case TokenListEncoder() if isinstance(value, list):
            return ", ".join(tokens_of(encoder, value)) or None
        case BucketEncoder() if isinstance(value, int) and value:
            return _interval(encoder, value - 1)
        case BooleanEncoder() if isinstance(value, int):
            return (None, "no", "yes")[value]
        case NumberEncoder() if isinstance(value, list) and not value[1]:
            return _number(encoder, value[0])
        case _:
            return None


def tokens_of(encoder: TokenListEncoder, indices: Any) -> list[str]:
    """Give a list's tokens in their order."""
    tokens = encoder.vocabulary.tokens
    return [tokens[index - FIRST_TOKEN] for index in indices if index >= FIRST_TOKEN]


def field_of(name: str, encoder: Encoder, *, required: bool) -> dict[str, Any]:
    """Describe a feature for a form.

    Returns:
        `name`, `input` (`text`, `number`, `time`, `boolean`, `list`, `numbers` or `json`), `expected`,
        `required`, and `choices`, the tokens of a vocabulary that has a few.
    """
    tokens = encoder.vocabulary.tokens if isinstance(encoder, TokenEncoder | TokenListEncoder) else ()
    return {
        "name": name,
        "input": _input(encoder),
        "expected": encoder.expected,
        "required": required,
        "choices": list(tokens) if len(tokens) <= _MOST_CHOICES else [],
    }


def _input(encoder: Encoder) -> str:
    if isinstance(encoder, WeightedListEncoder):
        return "json"
    if isinstance(encoder, VectorEncoder):
        return "numbers"
    if encoder.is_list:
        return "list"
    if isinstance(encoder, TimestampEncoder):
        return "time"
    if encoder.dtype == "number":
        return "number"
    return "boolean" if encoder.dtype == "boolean" else "text"


def _number(encoder: NumberEncoder, standardised: float) -> str:
    number = encoder.mean + standardised * encoder.deviation
    # What float32 has left of a zero.
    if abs(number) < 1e-5 * encoder.deviation:
        return "0"
    number = math.copysign(math.expm1(abs(number)), number) if encoder.transform == "log" else number
    return f"{number:.4g}"


def _interval(encoder: BucketEncoder, bucket: int) -> str:
    ends = encoder.boundaries
    if bucket == 0:
        return f"below {ends[0]:g}"
    if bucket == len(ends):
        return f"{ends[-1]:g} or more"
    return f"{ends[bucket - 1]:g} to {ends[bucket]:g}"
