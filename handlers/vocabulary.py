"""Tokens and their indices; 0 and 1 are kept for what is missing and what is unknown."""

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

import numpy as np

from torchtowers.handlers.errors import shorten
from torchtowers.handlers.token_table import TokenTable

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
        tokens: Distinct strings, or a table of them.

    Raises:
        ValueError: A token is no string, or is there twice.
    """

    def __init__(self, tokens: Iterable[str] | TokenTable) -> None:
        self._rows: dict[str, int] | TokenTable
        if isinstance(tokens, TokenTable):
            self.table = self._rows = tokens
            return
        # In memory and quicker than a table, for training; a worker maps one.
        self.tokens = tuple(tokens)
        for token in self.tokens:
            if not isinstance(token, str):
                raise ValueError(f"a vocabulary's tokens have to be strings, got {shorten(token)}")
        self._rows = {token: row for row, token in enumerate(self.tokens)}
        if len(self._rows) != len(self.tokens):
            raise ValueError(f"a vocabulary of {len(self.tokens)} tokens has {len(self._rows)} distinct ones")

    @cached_property
    def tokens(self) -> tuple[str, ...]:
        """All tokens; those of a mapped table are read only where this is asked for."""
        return self.table.tokens()

    @cached_property
    def table(self) -> TokenTable:
        """The tokens as a table."""
        return TokenTable.of(self.tokens)

    @property
    def size(self) -> int:
        """Number of rows that an embedding table needs: the tokens, and those for missing and unknown."""
        return len(self._rows) + FIRST_TOKEN

    def index(self, token: str) -> int:
        """Give the token's index, or `UNKNOWN`."""
        return self._rows.get(token, UNKNOWN - FIRST_TOKEN) + FIRST_TOKEN

    def __contains__(self, token: object) -> bool:
        return isinstance(token, str) and self._rows.get(token, -1) >= 0

    def save(self, folder: Path, stem: str) -> None:
        """Write the tokens' files."""
        self.table.save(folder, stem)

    @classmethod
    def load(cls, folder: Path, stem: str) -> "Vocabulary":
        """Map what `save` wrote.

        Raises:
            ArtifactError: A file is missing or malformed.
        """
        return cls(TokenTable.load(folder, stem))
