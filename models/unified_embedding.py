"""Feature multiplexing: all features share one hashed space of embeddings."""

import hashlib
from collections.abc import Mapping
from typing import get_args

import numpy as np
import torch
from torch import Tensor, nn

from torchtowers.handlers.encoders import MISSING
from torchtowers.models.embed_reduce import POWERS, Combiner, divide_by_length
from torchtowers.models.embeddings import TokenEmbedding

__all__ = ["UnifiedEmbedding"]

# A Mersenne prime: a product of two residues and a third one added stay within int64.
_PRIME = 2**31 - 1
# Four coefficients make the hash 4-wise independent: collisions vary as those of a random function do.
_COEFFICIENTS = 4


class UnifiedEmbedding(nn.Module):
    """Embeds all features from the same tables, by several hashes each: TFRS's `feature_multiplexing`.

    An index of a feature is hashed once for each of the feature's chunks, by salts of the feature and the
    chunk, and the chunks' rows are concatenated. Chunks go to the tables in turn, counted over all features.
    Source: Coleman et al. 2023, "Unified Embedding".

    The hash is a polynomial modulo 2^31 - 1, of integer operations only, and so the same in every runtime.
    Its salts depend on a feature's place alone, so that features can be added at the end: the state of a
    layer without them loads.

    Args:
        features: By feature, its number of chunks; outputs have the same order.
        buckets: Rows of a table.
        dim: Width of a table, so of a chunk.
        tables: Number of tables.
        pooling: Of lists: `mean`, `sum`, or `sqrtn`, the sum divided by the square root of the length.
        std: Standard deviation of the initial values.

    Raises:
        ValueError: There is no feature, a number is out of range, or the pooling is unknown.
    """

    coefficients: Tensor
    offsets: Tensor

    def __init__(
        self,
        features: Mapping[str, int],
        *,
        buckets: int,
        dim: int,
        tables: int = 1,
        pooling: Combiner = "mean",
        std: float = 0.05,
    ) -> None:
        super().__init__()
        if not features:
            raise ValueError("features is empty: name one feature at least, with its number of chunks")
        for name, chunks in features.items():
            if chunks < 1:
                raise ValueError(f"feature {name!r} must have 1 chunk at least, got {chunks}")
        if min(buckets, dim, tables) < 1:
            raise ValueError(f"buckets, dim and tables must be at least 1, got {buckets}, {dim} and {tables}")
        if buckets >= _PRIME:
            raise ValueError(f"buckets must be below {_PRIME}, the hash's modulus, got {buckets}")
        if pooling not in get_args(Combiner):
            raise ValueError(f"pooling must be one of {', '.join(get_args(Combiner))}, got {pooling!r}")
        self.names = list(features)
        self.chunks = list(features.values())
        self.buckets = buckets
        self.power = POWERS[pooling]
        self.prime = _PRIME
        self.padding = MISSING
        # One matrix for all tables: one gather, and one sparse gradient. Its row 0 is that of missing values.
        self.table = TokenEmbedding(1 + tables * buckets, dim, std=std)
        table_of_chunk = torch.arange(sum(self.chunks)) % tables
        self.register_buffer("offsets", 1 + table_of_chunk * buckets, persistent=False)
        self.register_buffer("coefficients", _salts(self.chunks), persistent=False)

    def forward(self, features: dict[str, Tensor]) -> list[Tensor]:
        """Look up, and pool lists.

        Args:
            features: By feature, int64 `[batch]`, or lists `[batch, length]` padded with 0 anywhere. Any
                integers, of which 0 stands for a missing value; those that are equal modulo 2^31 - 1 are one.

        Returns:
            For each feature, in the order in which they were given to the constructor,
            `[batch, chunks * dim]`; zeros for a missing value and for an empty list.

        Example:
            >>> embed = UnifiedEmbedding({"user_id": 2, "genres": 1}, buckets=100, dim=8)
            >>> user, genres = embed({"user_id": torch.tensor([7]), "genres": torch.tensor([[3, 4, 0]])})
            >>> user.shape, genres.shape
            (torch.Size([1, 16]), torch.Size([1, 8]))
        """
        rows: list[Tensor] = []
        first = 0
        for name, chunks in zip(self.names, self.chunks):  # noqa: B905  (TorchScript knows no `strict`)
            rows.append(self._rows(features[name], first, chunks).flatten(1))
            first += chunks
        vectors = self.table(torch.cat(rows, dim=1))
        outputs: list[Tensor] = []
        column = 0
        for name, chunks in zip(self.names, self.chunks):  # noqa: B905
            indices = features[name]
            length = indices.size(1) if indices.dim() == 2 else 1
            part = vectors[:, column : column + length * chunks]
            column += length * chunks
            if indices.dim() == 1:
                outputs.append(part.flatten(1))
            else:
                total = part.unflatten(1, (length, chunks)).flatten(2).sum(1)
                outputs.append(divide_by_length(total, indices, self.padding, self.power))
        return outputs

    def _rows(self, indices: Tensor, first: int, chunks: int) -> Tensor:
        """Hash to the table's rows, `[..., chunks]`; missing values have row 0."""
        x = torch.remainder(indices, self.prime).unsqueeze(-1)
        salts = self.coefficients[:, first : first + chunks]
        hashed = salts[0] * torch.ones_like(x)
        for power in range(1, salts.size(0)):
            hashed = torch.remainder(hashed * x + salts[power], self.prime)
        rows = torch.remainder(hashed, self.buckets) + self.offsets[first : first + chunks]
        return rows.masked_fill((indices == self.padding).unsqueeze(-1), 0)


def _salts(chunks: list[int]) -> Tensor:
    """Make each chunk's coefficients of its feature's number and its own; int64 `[4, sum(chunks)]`."""
    # No generator of random numbers is bound to give the same ones in its next version.
    digests = b"".join(
        hashlib.sha256(f"{feature} {chunk}".encode()).digest()
        for feature, count in enumerate(chunks)
        for chunk in range(count)
    )
    salts = np.frombuffer(digests, "<u8").reshape(-1, _COEFFICIENTS).T
    # The first one is not 0, which would lower the polynomial's degree.
    lowest = np.array([[1], [0], [0], [0]], dtype=np.uint64)
    return torch.from_numpy((salts % (_PRIME - lowest) + lowest).astype(np.int64))
