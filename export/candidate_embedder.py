"""Items' raw columns to embeddings by an artifact's own candidate tower; torch is needed only by its file."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from torchtowers.data.column_encoding import encode_columns
from torchtowers.data.features import tower_inputs
from torchtowers.export.errors import ExportError
from torchtowers.handlers.encoders import UNKNOWN, Encoder, TokenEncoder, Vocabulary
from torchtowers.handlers.errors import ArtifactError, RuntimeUnavailableError, shorten
from torchtowers.handlers.runtime import Tower, load_tower
from torchtowers.handlers.signature import Signature, TowerSpec

__all__ = ["CandidateEmbedder"]

# The best one first; onnxruntime is the smallest to install.
_RUNTIMES = ("onnx", "torchscript", "pt2")
_ROWS_AT_ONCE = 4096


class CandidateEmbedder:
    """Encodes items as training did, and embeds them.

    Args:
        folder: The artifact.
        signature: Its signature.
        spec: The signature's candidate tower.
        log: Told which runtime's library is missing.

    Raises:
        ArtifactError: A file is missing or malformed.
        RuntimeUnavailableError: No library of the artifact's formats is installed.
    """

    def __init__(
        self,
        folder: Path,
        signature: Signature,
        spec: TowerSpec,
        *,
        log: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.key = spec.key
        self.encoders: dict[str, Encoder] = {
            feature.name: feature.load_encoder(folder) for feature in spec.features
        }
        self.runtime, self._tower = _load(folder, signature, log)
        self._dimension = None if signature.index is None else signature.index.dimension
        identity = self.encoders.get(spec.key)
        # One that hashes takes all ids; those that it has learnt of are the run's.
        is_hashed = identity is not None and not isinstance(identity, TokenEncoder)
        self._ids = Vocabulary.load(folder, spec.ids) if is_hashed else None

    def embed(self, table: pl.DataFrame) -> tuple[NDArray[np.float32], int]:
        """Embed items; gives float32 `[items, dim]`, and how many ids the tower has not learnt of.

        Args:
            table: With a column for each feature, ids as text.

        Raises:
            DataError: A value does not fit its feature.
            ArtifactError: The tower does not fit the signature.
        """
        columns = encode_columns(table, self.encoders, {})
        blocks = []
        for first in range(0, table.height, _ROWS_AT_ONCE):
            rows = np.arange(first, min(first + _ROWS_AT_ONCE, table.height))
            blocks.append(self._run(tower_inputs(columns, rows), len(rows)))
        embeddings = np.concatenate(blocks) if blocks else np.empty((0, self._dimension or 0), np.float32)
        return embeddings, self._count_unknown(table, columns)

    def _run(self, inputs: dict[str, NDArray[Any]], rows: int) -> NDArray[np.float32]:
        try:
            embeddings = self._tower(inputs)
        except Exception as error:  # of whichever runtime
            raise ArtifactError(
                f"the {self.runtime} candidate tower does not take the signature's features: "
                f"{shorten(str(error))}"
            ) from error
        if embeddings.shape != (rows, self._dimension):
            raise ArtifactError(
                f"the {self.runtime} candidate tower gives {embeddings.shape} for {rows} rows, the index "
                f"needs ({rows}, {self._dimension})"
            )
        return embeddings

    def _count_unknown(self, table: pl.DataFrame, columns: dict[str, Any]) -> int:
        encoder = self.encoders.get(self.key)
        if isinstance(encoder, TokenEncoder):
            codes = columns[self.key]
            # Further rows for unknown ids are behind the known ones'.
            return int(((codes == UNKNOWN) | (codes >= encoder.vocabulary.size)).sum())
        if self._ids is None:
            return 0
        return sum(token not in self._ids for token in table[self.key].to_list())


def _load(folder: Path, signature: Signature, log: Callable[[str], None]) -> tuple[str, Tower]:
    there = [runtime for runtime in _RUNTIMES if "candidate" in signature.towers.get(runtime, {})]
    missing: list[str] = []
    for runtime in there:
        try:
            return runtime, load_tower(runtime, folder / signature.towers[runtime]["candidate"])
        except RuntimeUnavailableError as error:
            missing.append(f"{runtime} ({error.__cause__ or error})")
            log(f"the {runtime} candidate tower can't be run here: {error.__cause__ or error}")
    if not there:
        raise ExportError(f"{folder} names no file of a candidate tower: export the run again")
    raise RuntimeUnavailableError(
        f"no candidate tower can be run here: {', '.join(missing)}; install onnxruntime or torch"
    )
