"""Checks that encoders share: of settings, tokens and numbers."""

import math
import sys

import numpy as np

from torchtowers.handlers.errors import FieldError, shorten
from torchtowers.handlers.vocabulary import token_of

__all__ = ["check_positive", "finite_float", "token_or_missing", "tokens_of_list"]

TOKEN = "a string or an integer"


def check_positive(name: str, value: object) -> int:
    """Give a setting that has to be an integer of at least 1.

    Raises:
        ValueError: It is not.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} has to be an integer of at least 1, got {shorten(value)}")
    return value


def finite_float(value: object) -> float | None:
    """Give a finite number as a float, or None where it is none; of an integer beyond them the outermost."""
    if isinstance(value, bool | np.bool_):
        return None
    if isinstance(value, int | np.integer):
        try:
            return float(value)
        except OverflowError:
            return sys.float_info.max if value > 0 else -sys.float_info.max
    if isinstance(value, float | np.floating) and math.isfinite(value):
        return float(value)
    return None


def token_or_missing(value: object, field: str) -> str:
    """Give the token of a string or an integer; the empty string stands for missing, and for None.

    Raises:
        FieldError: It is neither.
    """
    token = "" if value is None else token_of(value)
    if token is None:
        raise FieldError(field, value, TOKEN)
    return token


def tokens_of_list(value: object, field: str, expected: str) -> list[str]:
    """Give the tokens of a list; None is an empty one.

    Raises:
        FieldError: It is no list, or an element is no token.
    """
    if value is None:
        return []
    if not isinstance(value, list | tuple):
        raise FieldError(field, value, expected)
    tokens = []
    for position, element in enumerate(value):
        token = token_of(element)
        if token is None:
            raise FieldError(f"{field}[{position}]", element, TOKEN)
        tokens.append(token)
    return tokens
