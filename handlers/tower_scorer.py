"""Scores of candidates by encoders and a ranking model."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchtowers.handlers.errors import ArtifactError, shorten
from torchtowers.handlers.execution import ON_CPU, Execution
from torchtowers.handlers.loading import Served
from torchtowers.handlers.query_encoder import EncodedRow, QueryEncoder
from torchtowers.handlers.request import Row
from torchtowers.handlers.runtime import Tower, load_tower

__all__ = ["EncodedQuery", "TowerScorer"]

# Candidates that go through the model at once; bounds the worker's memory for the largest batch.
_MAX_SCORES = 4096


@dataclass(slots=True)
class EncodedQuery:
    """A row whose features are encoded.

    Args:
        query: What its candidates have in common.
        candidates: Each candidate's own.
        ids: The candidates' ids as JSON text.
        k: How many to give; None for all, in their order.
    """

    query: EncodedRow
    candidates: Sequence[EncodedRow]
    ids: Sequence[bytes]
    k: int | None


class TowerScorer:
    """Scores each candidate with its query by the model's own file.

    Args:
        query: Encodes what a row has once.
        item: Encodes what each candidate has.
        model: The ranking model.

    Raises:
        ArtifactError: The model does not fit the encoders.
    """

    def __init__(self, query: QueryEncoder, item: QueryEncoder, model: Tower) -> None:
        self.query = query
        self.item = item
        self.model = model
        self._try_model()

    @classmethod
    def load(cls, folder: Path, served: Served, execution: Execution = ON_CPU) -> "TowerScorer":
        """Load the model and its encoders; the arguments are those of `TowerSearch.load`.

        Raises:
            ArtifactError: A file is malformed.
            RuntimeUnavailableError: The runtime's library is not installed.
        """
        signature = served.signature
        model = load_tower(served.runtime, folder / signature.served_file, execution)
        query = QueryEncoder(signature.query, folder, signature.history)
        return cls(query, QueryEncoder(served.candidate, folder, None), model)

    def scores(self, rows: Sequence[EncodedQuery]) -> NDArray[np.float32]:
        """Score all candidates, one row's after the other's; float32 `[candidates]`."""
        candidates = list(chain.from_iterable(row.candidates for row in rows))
        return self.scores_of(
            [row.query for row in rows],
            [len(row.candidates) for row in rows],
            lambda block: self.item.stack(candidates[block]),
        )

    def scores_of(
        self,
        queries: Sequence[EncodedRow],
        counts: Sequence[int],
        inputs_of: Callable[[slice], Mapping[str, NDArray[Any]]],
    ) -> NDArray[np.float32]:
        """Score candidates whose inputs are made a block at a time.

        Args:
            queries: What each row's candidates have in common.
            counts: How many candidates each row has.
            inputs_of: Gives the candidates' own inputs of a part of all of them, one row's after the other's.

        Returns:
            float32 `[sum of counts]`.
        """
        owners = np.repeat(np.arange(len(queries)), counts)
        scores = [np.empty(0, np.float32)]
        for begin in range(0, len(owners), _MAX_SCORES):
            block = slice(begin, min(begin + _MAX_SCORES, len(owners)))
            scores.append(self.model({**self._repeated(queries, owners[block]), **inputs_of(block)}))
        return np.concatenate(scores)

    def _repeated(self, queries: Sequence[EncodedRow], owners: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        first, last = int(owners[0]), int(owners[-1])
        stacked = self.query.stack(queries[first : last + 1])
        return {name: values[owners - first] for name, values in stacked.items()}

    def _try_model(self) -> None:
        """Run the model once: a file that does not fit the signature is refused while it is loaded."""
        queries = self.query.stack([self.query.encode(Row({self.query.spec.key: "?"}, k=1))])
        item = self.item.encode(Row({self.item.spec.key: "?"}, k=1))
        try:
            shape = self.model({**queries, **self.item.stack([item])}).shape
        except Exception as error:  # of whichever runtime
            raise ArtifactError(
                f"the ranking model does not take the signature's features: {shorten(str(error))}"
            ) from error
        if shape != (1,):
            raise ArtifactError(f"the ranking model gives {shape} for one candidate, expected (1,)")
