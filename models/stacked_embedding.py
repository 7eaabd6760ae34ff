"""One embedding table for many features."""

import json
from collections.abc import Mapping
from typing import Any, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from torchtowers.handlers.encoders import MISSING
from torchtowers.models.embed_reduce import POWERS, Combiner, divide_by_length

__all__ = ["StackedEmbedding"]


class StackedEmbedding(nn.Module):
    """Tables of one width, one below the other: one lookup and one sparse gradient for all features.

    Features stand in the order of their names, as in TFRS. Rows start as those of TFRS's
    `TableConfig`: normal, standard deviation `1 / sqrt(dim)`, cut off at two of them. A single index has the
    row that it names, 0 (missing) too; in lists 0 is padding.

    Args:
        sizes: By feature, the rows of its table.
        dim: The width of all.
        combiner: Of lists: the `sum` of the rows, divided by their number for `mean` and by its square root
            for `sqrtn`. An empty list has zeros.
        sparse: Whether the gradient is sparse, for optimizers that take it.

    Attributes:
        names: The features in their order.
        weight: `[sum of the sizes, dim]`.
        layout: Names and sizes in the state, which loads into the same ones only; uint8, JSON.

    Raises:
        ValueError: There is no feature, a number is below 1, or the combiner is unknown.
    """

    sizes: Tensor
    offsets: Tensor
    layout: Tensor

    def __init__(
        self, sizes: Mapping[str, int], dim: int, *, combiner: Combiner = "mean", sparse: bool = True
    ) -> None:
        super().__init__()
        if not sizes:
            raise ValueError("there are no features: name the size of one table at least")
        if min(dim, *sizes.values()) < 1:
            raise ValueError(f"sizes and dim must be at least 1, got {dict(sizes)} and dim {dim}")
        if combiner not in get_args(Combiner):
            raise ValueError(f"combiner must be one of {', '.join(get_args(Combiner))}, got {combiner!r}")
        self.names = sorted(sizes)
        self.power = POWERS[combiner]
        self.sparse = sparse
        self.padding = MISSING
        counts = torch.tensor([sizes[name] for name in self.names])
        self.register_buffer("sizes", counts, persistent=False)
        self.register_buffer("offsets", counts.cumsum(0) - counts, persistent=False)
        layout = json.dumps({name: int(sizes[name]) for name in self.names})
        self.register_buffer("layout", torch.tensor(list(layout.encode()), dtype=torch.uint8))
        std = dim**-0.5
        self.weight = nn.Parameter(torch.empty(sum(sizes.values()), dim))
        nn.init.trunc_normal_(self.weight, std=std, a=-2 * std, b=2 * std)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *arguments: Any) -> None:
        layout = state_dict.get(f"{prefix}layout")
        if layout is not None and layout.tolist() != self.layout.tolist():
            # Sizes of one sum would give each feature rows of another one, unnoticed.
            own, given = (bytes(values.tolist()).decode() for values in (self.layout, layout))
            errors: list[str] = arguments[-1]
            errors.append(
                f"{prefix}weight is of the features {given}, but the tables here are of {own}: "
                "build the model with the names and sizes that it was trained with"
            )
            return
        super()._load_from_state_dict(state_dict, prefix, *arguments)

    @torch.jit.unused
    def table(self, name: str) -> Tensor:
        """Give a feature's part of the table, `[its size, dim]`; a view, so that it can be written to."""
        position = self.names.index(name)
        first = int(self.offsets[position])
        return self.weight[first : first + int(self.sizes[position])]

    def forward(self, features: dict[str, Tensor]) -> Tensor:
        """Look up.

        Args:
            features: By feature, int64 `[batch]`, or `[batch, length]` padded with 0 anywhere; others are
                ignored.

        Returns:
            `[batch, features, dim]`.

        Raises:
            ValueError: A feature is missing or has another number of dimensions.
            IndexError: An index is outside its feature's table (not checked on a GPU, nor in an exported
                model).

        Example:
            >>> embedding = StackedEmbedding({"user": 3, "genres": 5}, dim=2)
            >>> features = {"user": torch.tensor([1, 2]), "genres": torch.tensor([[4, 0], [1, 3]])}
            >>> embedding(features).shape
            torch.Size([2, 2, 2])
        """
        columns = self._columns(features)
        if sum([column.dim() for column in columns]) == len(columns):
            return self._lookup(torch.stack(columns, dim=1), self.sizes, self.offsets)
        # All in one lookup nevertheless: adding up sparse gradients copies them each time.
        lists: list[Tensor] = []
        places: list[Tensor] = []
        for position, column in enumerate(columns):
            indices = column.reshape(column.size(0), 1) if column.dim() == 1 else column
            lists.append(indices)
            places.append(torch.full([indices.size(1)], position, device=self.offsets.device))
        place = torch.cat(places)
        rows = self._lookup(torch.cat(lists, dim=1), self.sizes[place], self.offsets[place])
        pooled: list[Tensor] = []
        first = 0
        for indices, column in zip(lists, columns, strict=False):
            part = rows[:, first : first + indices.size(1)]
            pooled.append(self._pool(part, indices) if column.dim() == 2 else part)
            first += indices.size(1)
        return torch.cat(pooled, dim=1)

    def _columns(self, features: dict[str, Tensor]) -> list[Tensor]:
        columns = []
        for name in self.names:
            if name not in features:
                raise ValueError(f"feature {name} is missing: got {', '.join(features.keys())}")
            column = features[name]
            if column.dim() != 1 and column.dim() != 2:
                raise ValueError(
                    f"feature {name} must be [batch] or [batch, length], got {list(column.shape)}"
                )
            columns.append(column)
        return columns

    def _lookup(self, indices: Tensor, sizes: Tensor, offsets: Tensor) -> Tensor:
        """Give the rows, `[batch, columns, dim]`; sizes and offsets are the columns'."""
        # An index beyond its own table would silently name a row of the next. A GPU would have to wait.
        if not torch.compiler.is_compiling() and indices.device.type == "cpu":
            outside = (indices < 0) | (indices >= sizes)
            if bool(outside.any()):
                first = outside.nonzero()[0]
                index, size = int(indices[first[0], first[1]]), int(sizes[first[1]])
                raise IndexError(
                    f"index {index} is outside its feature's table, whose rows are 0 to {size - 1}: "
                    "the encoder has to be the one that gave the table its size"
                )
        return F.embedding(indices + offsets, self.weight, sparse=self.sparse)

    def _pool(self, rows: Tensor, indices: Tensor) -> Tensor:
        """Combine a list's rows `[batch, length, dim]` into one, `[batch, 1, dim]`."""
        present = (indices != self.padding).unsqueeze(-1).to(rows.dtype)
        return divide_by_length((rows * present).sum(1), indices, self.padding, self.power).unsqueeze(1)
