"""A row's raw features to the query tower's inputs, with what is known of a key filled in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from torchtowers.handlers.encoders import Encoder, TokenEncoder, TokenListEncoder, pad
from torchtowers.handlers.errors import FieldError, SignatureError, shorten
from torchtowers.handlers.lookup import LookupColumn
from torchtowers.handlers.request import RESERVED, Row
from torchtowers.handlers.signature import TowerSpec
from torchtowers.handlers.vocabulary import FIRST_TOKEN

__all__ = ["EncodedRow", "QueryEncoder"]

E = TypeVar("E", TokenEncoder, TokenListEncoder)


@dataclass(frozen=True)
class EncodedRow:
    """A row whose features are encoded.

    Args:
        row: As it came.
        inputs: By feature, an index or a list of indices.
        history: Vocabulary indices of the items that the user already knows; all of them, also where
            the tower takes only the last ones.
    """

    row: Row
    inputs: Mapping[str, int | list[int]]
    history: Sequence[int]


class QueryEncoder:
    """Encodes rows for the query tower and fills in what is known of a key.

    Args:
        spec: The query tower's inputs.
        folder: The artifact's folder.
        history: The feature that lists items the user knows; None if there is none.
    """

    def __init__(self, spec: TowerSpec, folder: Path, history: str | None) -> None:
        self.spec = spec
        self.encoders: dict[str, Encoder] = {
            feature.name: feature.load_encoder(folder) for feature in spec.features
        }
        self._key = self._encoder_of(spec.key, TokenEncoder)
        self._history = None if history is None else self._encoder_of(history, TokenListEncoder)
        self._history_name = history
        reserved = [name for name in self.encoders if name in RESERVED]
        if reserved:
            raise SignatureError(
                f"a query feature can't be called {reserved[0]}: that is a request's own word"
            )
        self._lookup = {name: self._load_lookup(folder, name, stem) for name, stem in spec.lookup.items()}

    @property
    def history(self) -> TokenListEncoder | None:
        """The encoder of the items that a user knows, if the model has such a feature."""
        return self._history

    def encode(self, row: Row) -> EncodedRow:
        """Encode one row.

        Raises:
            FieldError: A required feature is missing, or a feature does not fit the model.
        """
        given, place = row.features, row.place
        for feature in self.spec.features:
            if feature.required and given.get(feature.name) in (None, ""):
                raise FieldError.missing(place + feature.name, self.encoders[feature.name].expected)
        key = self._key.encode_value(given.get(self.spec.key), place + self.spec.key)
        inputs: dict[str, int | list[int]] = {}
        history: list[int] = []
        for name, encoder in self.encoders.items():
            known = None
            if key >= FIRST_TOKEN and name not in given and name in self._lookup:
                known = self._lookup[name].get(key)
            if name == self._history_name and isinstance(encoder, TokenListEncoder):
                history = known if isinstance(known, list) else encoder.indices(given.get(name), place + name)
                inputs[name] = history[-encoder.max_length :]
            else:
                inputs[name] = encoder.encode_value(given.get(name), place + name) if known is None else known
        return EncodedRow(row, inputs, history)

    def stack(self, rows: Sequence[EncodedRow]) -> dict[str, NDArray[np.int64]]:
        """Give the query tower's inputs: by feature, int64 `[batch]` or `[batch, length]`."""
        stacked: dict[str, NDArray[np.int64]] = {}
        for name, encoder in self.encoders.items():
            column: list[Any] = [row.inputs[name] for row in rows]
            stacked[name] = pad(column) if encoder.is_list else np.asarray(column, dtype=np.int64)
        return stacked

    def _encoder_of(self, name: str, kind: type[E]) -> E:
        encoder = self.encoders.get(name)
        if not isinstance(encoder, kind):
            raise SignatureError(f"{shorten(name)} has to be a query feature with a {kind.kind} encoder")
        return encoder

    def _load_lookup(self, folder: Path, name: str, stem: str) -> LookupColumn:
        encoder = self.encoders.get(name)
        if encoder is None:
            raise SignatureError(f"the signature looks up {shorten(name)}, which is no query feature")
        keys = len(self._key.vocabulary.tokens)
        return LookupColumn.load(folder, stem, is_list=encoder.is_list, keys=keys, size=encoder.size)
