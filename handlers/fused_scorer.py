"""Scores of candidates by a fused file alone, which knows items by their ids."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from torchtowers.handlers.errors import ArtifactError, shorten
from torchtowers.handlers.execution import ON_CPU, Execution
from torchtowers.handlers.fused import Fused, blocks_of, fused_inputs, load_fused, longest_list, string_lists
from torchtowers.handlers.loading import Served
from torchtowers.handlers.query_encoder import QueryEncoder
from torchtowers.handlers.request import Row
from torchtowers.handlers.tower_scorer import EncodedQuery

__all__ = ["FusedScorer"]

# Candidates of one row that go through the file at once.
_MAX_CANDIDATES = 4096
# Strings of all of a block's rows; a candidate goes through the model as well, and weighs more.
_MAX_STRINGS = 1 << 22
_WEIGHT = _MAX_STRINGS // _MAX_CANDIDATES

# A query, and the ids of some of its candidates.
Piece = tuple[Row, Sequence[object]]


class FusedScorer:
    """Hands queries and ids to a fused file as they came; the encoders only check them.

    Args:
        query: What a row has once.
        item: What each candidate has: its id.
        fused: The file.

    Raises:
        ArtifactError: The file does not fit the features.
    """

    def __init__(self, query: QueryEncoder, item: QueryEncoder, fused: Fused) -> None:
        self.query = query
        self.item = item
        self.fused = fused
        self._try_fused()

    @classmethod
    def load(cls, folder: Path, served: Served, execution: Execution = ON_CPU) -> "FusedScorer":
        """Load the fused file and what checks requests; the arguments are those of `TowerSearch.load`.

        Raises:
            ArtifactError: A file is malformed.
            RuntimeUnavailableError: The runtime's library is not installed, or the worker is given a GPU.
        """
        signature = served.signature
        path = folder / signature.served_file
        fused = load_fused(served.runtime, path, execution)
        query = QueryEncoder(signature.query, None, signature.history)
        return cls(query, QueryEncoder(served.candidate, None, None), fused)

    def scores(self, rows: Sequence[EncodedQuery]) -> NDArray[np.float32]:
        """Score all candidates, one row's after the other's; float32 `[candidates]`."""
        pieces = list(self._pieces(rows))
        lengths = [max(len(ids) * _WEIGHT, longest_list(query)) for query, ids in pieces]
        scores: list[NDArray[np.float32]] = []
        for block in blocks_of(lengths, _MAX_STRINGS, _MAX_CANDIDATES):
            scores += self._scored(pieces[block])
        return np.concatenate(scores)

    def _pieces(self, rows: Sequence[EncodedQuery]) -> Iterator[Piece]:
        key = self.item.spec.key
        for row in rows:
            ids = [candidate.row.features[key] for candidate in row.candidates]
            for begin in range(0, len(ids), _MAX_CANDIDATES):
                yield row.query.row, ids[begin : begin + _MAX_CANDIDATES]

    def _scored(self, pieces: Sequence[Piece]) -> list[NDArray[np.float32]]:
        inputs = fused_inputs(self.query, [query for query, _ in pieces])
        inputs["candidates"] = string_lists([ids for _, ids in pieces])
        return [scores for _, scores in self.fused(inputs)]

    def _try_fused(self) -> None:
        """Score once: a file that does not fit the signature is refused while it is loaded."""
        try:
            (scores,) = self._scored([(Row({self.query.spec.key: "?"}, k=1), ["?"])])
        except Exception as error:  # of whichever runtime
            raise ArtifactError(
                f"the fused file does not take the signature's features: {shorten(str(error))}"
            ) from error
        if scores.shape != (1,):
            raise ArtifactError(f"the fused file gives {scores.shape} for one candidate, expected (1,)")
