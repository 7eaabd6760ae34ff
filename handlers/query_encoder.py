"""A row's raw features to the query tower's inputs, with what is known of a key filled in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from torchtowers.handlers.encoders import Encoder, TokenEncoder, TokenListEncoder
from torchtowers.handlers.errors import FieldError, SignatureError, shorten
from torchtowers.handlers.lookup import FeatureLookup
from torchtowers.handlers.measures import measures
from torchtowers.handlers.request import RESERVED, Row
from torchtowers.handlers.signature import TowerSpec
from torchtowers.handlers.vocabulary import FIRST_TOKEN, Vocabulary

__all__ = ["EncodedRow", "QueryEncoder", "count_unknown"]


History: TypeAlias = Sequence[int] | NDArray[np.int64]


@dataclass(slots=True)
class EncodedRow:
    """A row whose features are encoded.

    Args:
        row: As it came.
        inputs: By feature, what its encoder gives; a list that was looked up is an array.
        history: Vocabulary indices of the items that the user already knows; all of them, also where
            the tower takes only the last ones.
        is_known: Whether the model has seen its id.
    """

    row: Row
    inputs: Mapping[str, Any]
    history: History
    is_known: bool = True


class QueryEncoder:
    """Encodes rows for the query tower and fills in what is known of a key.

    Args:
        spec: The query tower's inputs.
        folder: The artifact's folder; None where a fused file encodes, and rows are only checked.
        history: The feature that lists items the user knows; None if there is none.
    """

    def __init__(self, spec: TowerSpec, folder: Path | None, history: str | None) -> None:
        self.spec = spec
        self.encoders: dict[str, Encoder] = {
            feature.name: feature.load_encoder(folder) for feature in spec.features
        }
        self.ids = TokenEncoder(Vocabulary(()) if folder is None else Vocabulary.load(folder, spec.ids))
        # The features that every row has to hold.
        self.required = [feature.name for feature in spec.features if feature.required]
        self._key_feature = self._feature_of_ids(spec)
        self._lists = [name for name, each in self.encoders.items() if each.tensors[0].is_ragged]
        # What a row may hold: the features, and the id, also where it is no feature.
        self.fields: dict[str, Encoder] = {spec.key: self.ids, **self.encoders}
        self._history = None if history is None else self._history_encoder(history)
        self.history_name = history
        reserved = [name for name in self.fields if name in RESERVED]
        if reserved:
            raise SignatureError(
                f"a query feature can't be called {reserved[0]}: that is a request's own word"
            )
        self.lookup = {
            name: self._load_lookup(folder, name, stem)
            for name, stem in spec.lookup.items()
            if folder is not None
        }

    @property
    def key(self) -> str:
        """The field of the ids."""
        return self.spec.key

    @property
    def tokens(self) -> tuple[str, ...]:
        """The ids that are known."""
        return self.ids.vocabulary.tokens

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
        for name in self.required:
            if given.get(name) in (None, ""):
                raise FieldError.missing(place + name, self.encoders[name].expected)
        token = self.ids.encode_value(given.get(self.spec.key), place + self.spec.key)
        key = token - FIRST_TOKEN
        inputs: dict[str, Any] = {}
        history: History = ()
        for name, encoder in self.encoders.items():
            known = None
            if key >= 0 and name not in given and name in self.lookup:
                known = self.lookup[name].get(key)
            if name == self.history_name and isinstance(encoder, TokenListEncoder):
                history = encoder.indices(given.get(name), place + name) if known is None else known
                inputs[name] = history[-encoder.max_length :]
            elif name == self._key_feature:
                inputs[name] = token
            else:
                inputs[name] = encoder.encode_value(given.get(name), place + name) if known is None else known
        return EncodedRow(row, inputs, history, key >= 0)

    def longest(self, row: EncodedRow) -> int:
        """Give the length of the row's longest list of a tower's input; 0 where no input is a list."""
        return max([_length(row.inputs[name]) for name in self._lists], default=0)

    def stack(self, rows: Sequence[EncodedRow]) -> dict[str, NDArray[Any]]:
        """Give the query tower's inputs, by the tensor's name."""
        stacked: dict[str, NDArray[Any]] = {}
        for name, encoder in self.encoders.items():
            arrays = encoder.stack([row.inputs[name] for row in rows])
            for spec, array in zip(encoder.tensors, arrays, strict=True):
                stacked[name + spec.suffix] = array
        return stacked

    def _feature_of_ids(self, spec: TowerSpec) -> str | None:
        """Name the feature that encodes an id as `ids` does, so that it is looked for once."""
        for feature in spec.features:
            encoder = self.encoders[feature.name]
            if feature.name == spec.key and isinstance(encoder, TokenEncoder) and encoder.oov_buckets == 1:
                return spec.key if feature.vocabulary == spec.ids else None
        return None

    def _history_encoder(self, name: str) -> TokenListEncoder:
        encoder = self.encoders.get(name)
        if not isinstance(encoder, TokenListEncoder):
            raise SignatureError(f"{shorten(name)} has to be a query feature with a token_list encoder")
        return encoder

    def _load_lookup(self, folder: Path, name: str, stem: str) -> FeatureLookup:
        encoder = self.encoders.get(name)
        if encoder is None:
            raise SignatureError(f"the signature looks up {shorten(name)}, which is no query feature")
        return FeatureLookup.load(folder, stem, encoder, keys=self.ids.vocabulary.size - FIRST_TOKEN)


def _length(encoded: Any) -> int:
    # Of several tensors, such as ids and their weights, all are as long.
    return len(encoded[0] if isinstance(encoded, tuple) else encoded)


def count_unknown(rows: Sequence[EncodedRow]) -> None:
    """Count the rows whose id the model has not seen."""
    unknown = sum(not row.is_known for row in rows)
    if unknown:
        measures.add("torchtowers_unknown_ids_total", unknown)
