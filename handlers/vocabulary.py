"""Tokens and their indices; 0 and 1 are kept for what is missing and what is unknown."""

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from torchtowers.handlers.errors import ArtifactError, shorten

__all__ = ["FIRST_TOKEN", "MISSING", "UNKNOWN", "Vocabulary", "token_of"]

MISSING = 0
UNKNOWN = 1
FIRST_TOKEN = 2


def token_of(value: object) -> str | None:
    """Give the token of an id: a string as it is, an integer in decimals; None where it is neither."""
    if isinstance(value, str):
        return value
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        try:
            return str(value)
        except ValueError:  # more digits than Python writes out, so no id of ours
            return None
    return None


class Vocabulary:
    """Tokens in a fixed order, and their indices from 2 on.

    Args:
        tokens: Distinct strings.

    Raises:
        ValueError: A token is no string, or is there twice.
    """

    def __init__(self, tokens: Iterable[str]) -> None:
        self.tokens = tuple(tokens)
        for token in self.tokens:
            if not isinstance(token, str):
                raise ValueError(f"a vocabulary's tokens have to be strings, got {shorten(token)}")
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
        except (OSError, ValueError, RecursionError) as error:
            raise ArtifactError(f"vocabulary {path.name} can't be read: {error}") from error
        if not isinstance(tokens, list):
            raise ArtifactError(f"vocabulary {path.name}: expected a JSON list of strings")
        try:
            return cls(tokens)
        except ValueError as error:
            raise ArtifactError(f"vocabulary {path.name}: {error}") from error
