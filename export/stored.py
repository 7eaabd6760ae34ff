"""What an artifact stores rather than computes, compared with the data value by value: nothing is sampled."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchtowers.data.dataset import Dataset
from torchtowers.data.features import EntityTable
from torchtowers.export.column_writer import column_of
from torchtowers.export.errors import VerificationError
from torchtowers.handlers.index import ExactIndex
from torchtowers.handlers.item_column import ItemColumn
from torchtowers.handlers.query_encoder import QueryEncoder
from torchtowers.handlers.request import Row
from torchtowers.handlers.signature import Signature, TowerSpec
from torchtowers.handlers.strings import StringTable
from torchtowers.handlers.vectors import Vectors
from torchtowers.handlers.vocabulary import Vocabulary

__all__ = ["check_inputs", "check_stored", "rounding_of"]

_AT_ONCE = 4096


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
        ArtifactError: A file is missing or malformed.
    """
    for tower, table in ((signature.query, dataset.users), (signature.candidate, dataset.items)):
        if tower is not None:
            check_inputs(folder, tower, table, dataset)
    if signature.index is None:
        raise _differs("the index")
    index = ExactIndex.load(folder, signature.index)
    _check_strings("the candidates' ids", index.ids, dataset.items.tokens)
    index.table.check("the index's ids")
    if not _is_near(index.vectors, embeddings, tolerance):
        raise _differs("the candidates' embeddings")
    if index.rescoring is not None and not _is_near(Vectors(index.rescoring), embeddings, tolerance):
        raise _differs("the embeddings that the best candidates are scored by")
    for name, spec in signature.columns.items():
        column = ItemColumn.load(folder, spec, len(index))
        _check_strings(f"column {name}", column.text, dataset.item_table[name].to_list())
        if not _is_same(column, column_of(column.text)):
            raise _differs(f"what column {name} is filtered by")


def _is_same(stored: ItemColumn, made: ItemColumn) -> bool:
    """Tell whether a column's values, in whatever arrays, are those of its text."""
    arrays = [(stored.values, made.values), (stored.starts, made.starts)]
    if stored.kind != made.kind or (stored.distinct is None) != (made.distinct is None):
        return False
    if stored.distinct is not None and made.distinct is not None:
        own, other = stored.distinct, made.distinct
        if len(own) != len(other) or any(own.raw(row) != other.raw(row) for row in range(len(own))):
            return False
    for array, expected in arrays:
        if array is None or expected is None:
            if array is not expected:
                return False
        # NaN stands for a missing number.
        elif not np.array_equal(array, expected, equal_nan=array.dtype.kind == "f"):
            return False
    return True


def _is_near(vectors: Vectors, embeddings: NDArray[np.float32], tolerance: float) -> bool:
    """Tell whether each value is what was stored, give or take the rounding to its type."""
    if (len(vectors), vectors.dimension) != embeddings.shape:
        return False
    for first in range(0, len(vectors), _AT_ONCE):
        rows = slice(first, first + _AT_ONCE)
        allowed = tolerance + rounding_of(vectors, rows, embeddings[rows])
        # Written so that a NaN differs, too.
        if not np.all(np.abs(vectors.take(rows) - embeddings[rows]) <= allowed):
            return False
    return True


def rounding_of(
    vectors: Vectors, rows: NDArray[np.int64] | slice, embeddings: NDArray[np.float32]
) -> NDArray[Any] | float:
    """Give how far rows may be from the embeddings that they were made of, by the rounding to their type.

    Args:
        vectors: As they are stored.
        rows: Which of them.
        embeddings: What they were made of, float32 `[rows, dim]`.
    """
    if vectors.scales is not None:
        rounding: NDArray[Any] = vectors.scales[rows, None] / 2
        return rounding
    if vectors.values.dtype == np.float16:
        half = np.finfo(np.float16)
        return np.abs(embeddings) * float(half.epsneg) + float(half.smallest_subnormal)
    return 0.0


def check_inputs(folder: Path, tower: TowerSpec, table: EntityTable, dataset: Dataset) -> None:
    """Compare a tower's encoders, and what is looked up for it, with those of the data.

    Args:
        folder: The artifact.
        tower: The inputs as the signature has them.
        table: The entities that they belong to.
        dataset: The data that the model was trained on.

    Raises:
        VerificationError: Something differs; it is named.
    """
    _check_encoders(folder, tower, table)
    if tower.lookup:
        _check_known(folder, tower, table, dataset)


def _check_encoders(folder: Path, tower: TowerSpec, table: EntityTable) -> None:
    names = [feature.name for feature in tower.features]
    ids = Vocabulary.load(folder, tower.ids)
    if tower.key != table.key or names != list(table.encoders) or ids.tokens != table.tokens:
        raise _differs(f"the inputs of {table.key}'s tower")
    ids.table.check(f"the ids of {table.key}")
    for feature in tower.features:
        stored, expected = feature.load_encoder(folder), table.encoders[feature.name]
        if stored.to_json() != expected.to_json() or _tokens(stored) != _tokens(expected):
            raise _differs(f"the encoder of {feature.name}")
        if feature.vocabulary is not None:
            Vocabulary.load(folder, feature.vocabulary).table.check(f"the tokens of {feature.name}")


def _tokens(encoder: object) -> Sequence[str] | None:
    vocabulary = getattr(encoder, "vocabulary", None)
    return getattr(vocabulary, "tokens", None)


def _check_known(folder: Path, tower: TowerSpec, table: EntityTable, dataset: Dataset) -> None:
    """Ask for every entity by id alone, as a request would, and compare what is filled in."""
    history = dataset.history if dataset.history in table.encoders else None
    encoder = QueryEncoder(tower, folder, history)
    entities = "users" if table.key == dataset.users.key else "items"
    for first in range(0, len(table), _AT_ONCE):
        rows = range(first, min(first + _AT_ONCE, len(table)))
        encoded = [encoder.encode(Row({table.key: table.tokens[row]}, k=1)) for row in rows]
        filled_in, expected = encoder.stack(encoded), table.take(np.array(rows))
        for name, values in expected.items():
            if not np.array_equal(filled_in[name], values):
                raise _differs(f"the {name} of known {entities}")
        if history is not None and dataset.full_history is not None:
            for row, known in zip(rows, encoded, strict=True):
                if not np.array_equal(known.history, dataset.full_history[row]):
                    raise _differs(f"the whole {history} of known {entities}")


def _check_strings(what: str, table: StringTable, values: Sequence[object]) -> None:
    if len(table) != len(values):
        raise _differs(what)
    for row, value in enumerate(values):
        if json.loads(table.raw(row)) != value:
            raise _differs(f"{what}, row {row},")


def _differs(what: str) -> VerificationError:
    return VerificationError(f"{what} in the artifact differ from the data's")
