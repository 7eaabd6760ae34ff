"""An artifact, loaded and ready to answer: encoders, query tower, index, item columns; no server needed."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchtowers.handlers.answer import encode_answer, encode_row
from torchtowers.handlers.encoders import (
    FIRST_TOKEN,
    Encoder,
    TokenEncoder,
    TokenListEncoder,
    pad,
)
from torchtowers.handlers.errors import ArtifactError, FieldError, SignatureError
from torchtowers.handlers.index import ExactIndex
from torchtowers.handlers.lookup import LookupColumn
from torchtowers.handlers.request import Limits, Row, rows_of
from torchtowers.handlers.runtime import Tower, load_tower
from torchtowers.handlers.signature import Signature, TowerSpec
from torchtowers.handlers.strings import StringTable

__all__ = ["EncodedRow", "QueryEncoder", "Recommender"]


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
        key = self.encoders.get(spec.key)
        if not isinstance(key, TokenEncoder):
            raise SignatureError(f"the query's key {spec.key!r} has to be a feature with a token encoder")
        self._key = key
        unknown = [name for name in (*spec.lookup, *filter(None, [history])) if name not in self.encoders]
        if unknown:
            raise SignatureError(f"the signature names {unknown[0]!r}, which is no query feature")
        self._history = history
        self._lookup = {
            name: LookupColumn.load(
                folder, stem, is_list=self.encoders[name].is_list, keys=len(key.vocabulary.tokens)
            )
            for name, stem in spec.lookup.items()
        }

    def encode(self, row: Row) -> EncodedRow:
        """Encode one row.

        Raises:
            FieldError: A required feature is missing, or a feature is of the wrong kind.
        """
        given = row.features
        for feature in self.spec.features:
            if feature.required and given.get(feature.name) in (None, ""):
                expected = "a number" if feature.dtype == "number" else "a string or an integer"
                raise FieldError.missing(f"{row.place}{feature.name}", expected)
        key = self._key.encode_value(given.get(self.spec.key), f"{row.place}{self.spec.key}")
        inputs: dict[str, int | list[int]] = {}
        history: list[int] = []
        for name, encoder in self.encoders.items():
            place = row.place + name
            if name in given or name not in self._lookup or key < FIRST_TOKEN:
                if name == self._history and isinstance(encoder, TokenListEncoder):
                    history = encoder.indices(given.get(name), place)
                    inputs[name] = history[-encoder.max_length :]
                else:
                    inputs[name] = encoder.encode_value(given.get(name), place)
                continue
            known = self._lookup[name].get(key)
            if name == self._history and isinstance(known, list) and isinstance(encoder, TokenListEncoder):
                history = known
                known = known[-encoder.max_length :]
            inputs[name] = known
        return EncodedRow(row, inputs, history)

    def stack(self, rows: Sequence[EncodedRow]) -> dict[str, NDArray[np.int64]]:
        """Give the query tower's inputs: by feature, int64 `[batch]` or `[batch, length]`."""
        stacked: dict[str, NDArray[np.int64]] = {}
        for name, encoder in self.encoders.items():
            column: list[Any] = [row.inputs[name] for row in rows]
            stacked[name] = pad(column) if encoder.is_list else np.asarray(column, dtype=np.int64)
        return stacked


class Recommender:
    """Answers queries from an artifact's folder or an unpacked archive.

    Args:
        signature: The artifact's signature.
        encoder: The query's encoders.
        tower: The query tower.
        index: The candidates.
        columns: Item columns by name, each value as JSON text, in the index's order.
        limits: What a request may ask for.
    """

    def __init__(
        self,
        signature: Signature,
        encoder: QueryEncoder,
        tower: Tower,
        index: ExactIndex,
        columns: Mapping[str, StringTable],
        limits: Limits,
    ) -> None:
        self.signature = signature
        self.encoder = encoder
        self.tower = tower
        self.index = index
        self.columns = columns
        self.limits = limits
        self._history_rows = self._rows_by_history_index()

    @classmethod
    def load(
        cls,
        folder: str | Path,
        *,
        runtime: str | None = None,
        gpu_id: int | None = None,
        threads: int | None = None,
        limits: Limits | None = None,
        signature: Signature | None = None,
    ) -> "Recommender":
        """Load and verify an artifact.

        Args:
            folder: An artifact's folder, or an unpacked archive.
            runtime: `torchscript` or `onnx`; by default the only one there is, else `onnx`.
            gpu_id: The CUDA device for the tower; None for the CPU.
            threads: Threads of one operation of the tower on the CPU.
            limits: What a request may ask for.
            signature: The artifact's, where it is read already; by default it is read from the folder.

        Raises:
            ArtifactError: A file is missing, altered or malformed.
            RuntimeUnavailableError: The runtime's library is not installed.
        """
        folder = Path(folder)
        signature = signature or Signature.read(folder)
        if signature.kind != "retrieval":
            raise ArtifactError(f"expected a retrieval model, got one of kind {signature.kind!r}")
        signature.verify_files(folder)
        if runtime is None:
            runtime = "onnx" if "onnx" in signature.towers else next(iter(signature.towers), "onnx")
        serving = signature.for_serving(runtime)
        tower = load_tower(runtime, folder / serving.towers[runtime]["query"], gpu_id=gpu_id, threads=threads)
        index = ExactIndex.load(folder, signature.index)
        columns = {name: StringTable.load(folder, stem) for name, stem in signature.columns.items()}
        for name, column in columns.items():
            if len(column) != len(index):
                raise ArtifactError(f"column {name} has {len(column)} values for {len(index)} items")
        encoder = QueryEncoder(signature.query, folder, signature.history)
        return cls(signature, encoder, tower, index, columns, limits or Limits())

    def search(self, rows: Sequence[EncodedRow]) -> list[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """Give for each row its items' rows in the index and their scores, best first, in one batch."""
        queries = self.tower(self.encoder.stack(rows))
        return self.index.search(queries, [row.row.k for row in rows], [self._excluded(row) for row in rows])

    def recommend(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Answer one request body, as a served model would.

        Example:
            >>> Recommender.load("artifacts/movielens").recommend(
            ...     {"user_id": "196", "k": 3, "fields": ["title"]}
            ... )  # doctest: +SKIP
            {'items': [...], 'scores': [...], 'fields': {'title': [...]}}

        Raises:
            RequestError: The body is not what a dialect allows.
        """
        request = rows_of(body, self.limits, list(self.encoder.encoders), list(self.columns))
        encoded = [self.encoder.encode(row) for row in request.rows]
        answer: dict[str, Any] = json.loads(encode_answer(request.dialect, self.answers(encoded)))
        return answer

    def answers(self, rows: Sequence[EncodedRow]) -> list[bytes]:
        """Search a batch and encode each row's answer as JSON."""
        return [
            encode_row(items, scores, self.index.ids, {name: self.columns[name] for name in row.row.fields})
            for row, (items, scores) in zip(rows, self.search(rows), strict=True)
        ]

    def _excluded(self, row: EncodedRow) -> NDArray[np.int64]:
        excluded = self.index.rows_of(row.row.exclude)
        if row.row.exclude_history and row.history:
            known = self._history_rows[np.asarray(row.history)]
            excluded = np.concatenate([excluded, known[known >= 0]])
        return excluded

    def _rows_by_history_index(self) -> NDArray[np.int64]:
        history = self.encoder.encoders.get(self.signature.history or "")
        if not isinstance(history, TokenListEncoder):
            return np.empty(0, dtype=np.int64)
        rows = np.full(history.size, -1, dtype=np.int64)
        for index, token in enumerate(history.vocabulary.tokens, start=FIRST_TOKEN):
            found = self.index.rows_of([token])
            if len(found):
                rows[index] = found[0]
        return rows
