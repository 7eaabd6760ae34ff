"""A bias for each pair of two features' values: a crossed column of Wide & Deep."""

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from torchtowers.handlers.encoders import Encoder, TensorSpec
from torchtowers.models.embeddings import TokenEmbedding

__all__ = ["FeatureCross", "build_feature_crosses"]

# Knuth's multiplier: the golden ratio's share of 2^32, so that neighbours lie far apart.
_MULTIPLIER = 2654435761
_SCALAR = (TensorSpec("", "int64", ("batch",)),)


class FeatureCross(nn.Module):
    """A table over the pairs of two features' indices: a cross-product transformation (Cheng et al. 2016).

    Where there are fewer pairs than rows each has its own row, else pairs are hashed. A pair with a missing
    value has one like any other.

    Args:
        first: Name of a feature with one index a value.
        second: Of another one.
        sizes: Numbers of their indices.
        buckets: Rows at most.
        dim: Width of the rows.

    Raises:
        ValueError: There is no row.
    """

    def __init__(
        self, first: str, second: str, sizes: tuple[int, int], *, buckets: int = 100_000, dim: int = 1
    ) -> None:
        super().__init__()
        if buckets < 1:
            raise ValueError(f"buckets has to be at least 1, got {buckets}")
        self.first = first
        self.second = second
        pairs = sizes[0] * sizes[1]
        self.is_exact = pairs <= buckets
        self.rows = min(pairs, buckets)
        self.factor = sizes[1] if self.is_exact else _MULTIPLIER
        # Its row 0, that of a missing value, is zero and learns nothing: pairs begin at 1.
        self.table = TokenEmbedding(1 + self.rows, dim, std=0.0)

    def forward(self, features: dict[str, Tensor]) -> Tensor:
        """Look up.

        Args:
            features: By tensor, int64 `[batch]`.

        Returns:
            `[batch, dim]`.
        """
        pairs = features[self.first] * self.factor + features[self.second]
        embedded: Tensor = self.table(1 + pairs % self.rows)
        return embedded


def build_feature_crosses(
    encoders: Mapping[str, Encoder], crosses: Sequence[tuple[str, str]]
) -> dict[str, nn.Module]:
    """Make a `FeatureCross` for each pair of features, by a name of both.

    Args:
        encoders: By feature.
        crosses: Pairs of features.

    Raises:
        ValueError: One is no feature, or gives lists or numbers, or is crossed with itself.
    """
    made: dict[str, nn.Module] = {}
    for first, second in crosses:
        for name in (first, second):
            if name not in encoders:
                raise ValueError(f"crosses: {name} is no feature; there are {', '.join(encoders)}")
            if encoders[name].tensors != _SCALAR:
                raise ValueError(
                    f"crosses: {name} is of kind {encoders[name].kind}, and only features of one index can "
                    "be crossed, such as token, buckets or boolean"
                )
        if first == second:
            raise ValueError(f"crosses: {first} can't be crossed with itself")
        sizes = (encoders[first].size, encoders[second].size)
        made[f"{first}_x_{second}"] = FeatureCross(first, second, sizes)
    return made
