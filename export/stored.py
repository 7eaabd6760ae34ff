"""What an artifact stores rather than computes, compared with the data value by value: nothing is sampled."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from torchtowers.data.dataset import Dataset
from torchtowers.data.features import EntityTable
from torchtowers.export.errors import VerificationError
from torchtowers.handlers.index import ExactIndex
from torchtowers.handlers.query_encoder import QueryEncoder
from torchtowers.handlers.request import Row
from torchtowers.handlers.signature import Signature, TowerSpec
from torchtowers.handlers.strings import StringTable

__all__ = ["check_stored"]

_USERS_AT_ONCE = 4096


def check_stored(
    folder: Path,
    signature: Signature,
    dataset: Dataset,
    embeddings: NDArray[np.float32],
    tolerance: float,
) -> None:
    """Compare encoders, known users, candidates and item columns with those of the data.

    Args:
        folder: The artifact.
        signature: Its signature.
        dataset: The data that the model was trained on.
        embeddings: What the trained model makes of each candidate; float32 `[candidates, dim]`.
        tolerance: The largest difference that an embedding's value may have.

    Raises:
        VerificationError: Something differs; it is named.
    """
    for tower, table in ((signature.query, dataset.users), (signature.candidate, dataset.items)):
        if tower is not None:
            _check_encoders(folder, tower, table)
    _check_known_users(folder, signature, dataset)
    index = ExactIndex.load(folder, signature.index)
    _check_strings("the candidates' ids", index.ids, dataset.items.tokens)
    # Written so that a NaN differs, too.
    if index.embeddings.shape != embeddings.shape or not np.all(
        np.abs(index.embeddings - embeddings) <= tolerance
    ):
        raise _differs("the candidates' embeddings")
    for name, stem in signature.columns.items():
        _check_strings(f"column {name}", StringTable.load(folder, stem), dataset.item_table[name].to_list())


def _check_encoders(folder: Path, tower: TowerSpec, table: EntityTable) -> None:
    names = [feature.name for feature in tower.features]
    if tower.key != table.key or names != list(table.encoders):
        raise _differs(f"the inputs of {table.key}'s tower")
    for feature in tower.features:
        stored, expected = feature.load_encoder(folder), table.encoders[feature.name]
        if stored.to_json() != expected.to_json() or _tokens(stored) != _tokens(expected):
            raise _differs(f"the encoder of {feature.name}")


def _tokens(encoder: object) -> Sequence[str] | None:
    vocabulary = getattr(encoder, "vocabulary", None)
    return getattr(vocabulary, "tokens", None)


def _check_known_users(folder: Path, signature: Signature, dataset: Dataset) -> None:
    """Ask for every user by id alone, as a request would, and compare what is filled in."""
    if not signature.query.lookup:
        return
    encoder = QueryEncoder(signature.query, folder, signature.history)
    users, history = dataset.users, dataset.full_history
    for first in range(0, len(users), _USERS_AT_ONCE):
        rows = range(first, min(first + _USERS_AT_ONCE, len(users)))
        encoded = [encoder.encode(Row({users.key: users.tokens[row]}, k=1)) for row in rows]
        filled_in, expected = encoder.stack(encoded), users.take(np.array(rows))
        for name, values in expected.items():
            if not np.array_equal(filled_in[name], values):
                raise _differs(f"the {name} of known users")
        if history is not None:
            for row, known in zip(rows, encoded, strict=True):
                if not np.array_equal(known.history, history[row]):
                    raise _differs(f"the whole {dataset.history} of known users")


def _check_strings(what: str, table: StringTable, values: Sequence[object]) -> None:
    if len(table) != len(values):
        raise _differs(what)
    for row, value in enumerate(values):
        if json.loads(table.raw(row)) != value:
            raise _differs(f"{what}, row {row},")


def _differs(what: str) -> VerificationError:
    return VerificationError(f"{what} in the artifact differ from the data's; nothing was exported")
