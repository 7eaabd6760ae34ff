"""What a ranking model takes of an index's items, by their rows there: whole arrays, no object an item."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchtowers.handlers.arrays import map_array
from torchtowers.handlers.combined_signature import CombinedSignature
from torchtowers.handlers.encoders import Encoder
from torchtowers.handlers.errors import ArtifactError, SignatureError
from torchtowers.handlers.query_encoder import QueryEncoder
from torchtowers.handlers.vocabulary import FIRST_TOKEN

__all__ = ["ItemInputs"]


class ItemInputs:
    """Encoded features of the items that a search gave.

    Args:
        item: The ranking model's encoders of items, with what is known of them.
        rows: Each item's row among those that it knows, int64 `[items]`; -1 is unknown.
        ids: What the encoder of the ids gives, int64 `[items]`; None where the id is no feature.

    Raises:
        SignatureError: The ids' encoding is missing, or there though the id is no feature.
    """

    def __init__(self, item: QueryEncoder, rows: NDArray[np.int64], ids: NDArray[np.int64] | None) -> None:
        if (ids is not None) != (item.key in item.encoders):
            raise SignatureError(
                f"item_ids in signature.json has to be there where {item.key} is a feature of the ranking "
                "model, and only there; combine the two again"
            )
        self._item = item
        self._rows = rows
        self._ids = ids

    def __len__(self) -> int:
        return len(self._rows)

    @classmethod
    def load(
        cls, folder: Path, signature: CombinedSignature, item: QueryEncoder, *, items: int
    ) -> "ItemInputs":
        """Map the files that `export combine` wrote.

        Args:
            folder: An artifact's folder, or an unpacked archive.
            signature: Its signature.
            item: The ranking model's encoders of items.
            items: How many the index has.

        Raises:
            ArtifactError: A file is missing or malformed, or does not fit the index or the encoders.
        """
        rows = _mapped(folder, signature.item_rows, items, range(-1, item.ids.vocabulary.size - FIRST_TOKEN))
        if signature.item_ids is None or item.key not in item.encoders:
            return cls(item, rows, None)
        size = item.encoders[item.key].size
        return cls(item, rows, _mapped(folder, signature.item_ids, items, range(size)))

    def take(self, items: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        """Give the ranking model's inputs of items, as encoding their ids one by one would.

        Args:
            items: Rows of the index, int64 `[batch]`.

        Returns:
            By the tensor's name, int64 or float32 `[batch]` or `[batch, …]`.
        """
        known = self._rows[items]
        inputs: dict[str, NDArray[Any]] = {}
        for name, encoder in self._item.encoders.items():
            for spec, array in zip(encoder.tensors, self._arrays(name, encoder, items, known), strict=True):
                inputs[name + spec.suffix] = array
        return inputs

    def _arrays(
        self, name: str, encoder: Encoder, items: NDArray[np.int64], known: NDArray[np.int64]
    ) -> tuple[NDArray[Any], ...]:
        if self._ids is not None and name == self._item.key:
            return (self._ids[items],)
        missing = encoder.encode_value(None, name)
        if name in self._item.lookup:
            return self._item.lookup[name].take(known, missing)
        return tuple(np.repeat(array, len(items), axis=0) for array in encoder.stack([missing]))


def _mapped(folder: Path, name: str, length: int, values: range) -> NDArray[np.int64]:
    array: NDArray[np.int64] = map_array(folder, name, np.int64)
    if len(array) != length:
        raise ArtifactError(f"{name} in {folder.name}: expected {length} items, got {len(array)}")
    if length and (array.min() < values.start or array.max() >= values.stop):
        raise ArtifactError(
            f"{name} in {folder.name}: expected rows from {values.start} to {values.stop - 1}, got "
            f"{array.min()} to {array.max()}"
        )
    return array
