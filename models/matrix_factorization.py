"""Matrix factorization: a vector and a bias for each user and each item, and nothing else."""

import torch
from torch import Tensor, nn

from torchtowers.data.batches import Batch
from torchtowers.data.ranking_batch import RankingBatch
from torchtowers.models.batch_tensors import device_of, of_pairs, to_tensor, to_tensors
from torchtowers.models.embeddings import TokenEmbedding
from torchtowers.models.pointwise_losses import MeanSquaredError
from torchtowers.models.ranking import Ranking
from torchtowers.models.retrieval import Retrieval

__all__ = ["FactorTower", "MatrixFactorization", "build_matrix_factorization"]


class FactorTower(nn.Module):
    """Embeds an id as its vector, its bias, and a 1 for the bias of the other side to be multiplied by.

    Args:
        size: Rows of the tables.
        dim: The vector's dimension.
        key: The feature that is the id; others are not looked at.
        bias_first: Whether the bias comes before the 1: so in one of the two towers, not in both.
    """

    def __init__(self, size: int, dim: int, *, key: str, bias_first: bool) -> None:
        super().__init__()
        self.table = TokenEmbedding(size, dim)
        self.bias = TokenEmbedding(size, 1, std=0.0)
        self.key = key
        self.bias_first = bias_first

    def forward(self, features: dict[str, Tensor]) -> Tensor:
        """Embed a batch; int64 `[batch]` to `[batch, dim + 2]`."""
        indices = features[self.key]
        vectors = self.table(indices)
        bias = self.bias(indices)
        one = torch.ones_like(bias)
        return torch.cat([vectors, bias, one] if self.bias_first else [vectors, one, bias], dim=1)


class MatrixFactorization(nn.Module):
    """Scores a user and an item by the dot product of their vectors plus both biases.

    Trained by pairs it retrieves, by ratings it predicts them; a rating is the score plus the mean rating.
    Source: Koren, Bell & Volinsky 2009, "Matrix Factorization Techniques for Recommender Systems".

    Args:
        query_tower: Of the users.
        candidate_tower: Of the items.
        mean: Of the ratings.
        l2: Multiplies the squared vectors and biases of a batch's pairs in the loss, their mean.
        temperature: Divides the scores in the loss of pairs.

    Raises:
        ValueError: `l2` is negative, or the temperature is not positive.
    """

    mean: Tensor

    def __init__(
        self,
        query_tower: FactorTower,
        candidate_tower: FactorTower,
        *,
        mean: float = 0.0,
        l2: float = 0.0,
        temperature: float = 1.0,
    ) -> None:
        super().__init__()
        if l2 < 0:
            raise ValueError(f"l2 must not be negative, got {l2}")
        self.query_tower = query_tower
        self.candidate_tower = candidate_tower
        # Part of the state, since ratings can't be predicted without it.
        self.register_buffer("mean", torch.tensor(mean))
        self.l2 = l2
        self.retrieval = Retrieval(temperature=temperature, remove_accidental_hits=True, reduction="mean")
        self.ranking = Ranking(MeanSquaredError())

    def forward(self, features: dict[str, Tensor]) -> Tensor:
        """Predict ratings.

        Args:
            features: The ids of users and items, int64 `[batch]` each.

        Returns:
            `[batch]`.
        """
        return self._ratings(self.query_tower(features), self.candidate_tower(features))

    def _ratings(self, queries: Tensor, candidates: Tensor) -> Tensor:
        return (queries * candidates).sum(1) + self.mean

    def compute_loss(self, batch: Batch | RankingBatch) -> Tensor:
        """Give the loss of a batch, a scalar.

        Args:
            batch: Pairs, for the in-batch softmax of `Retrieval`; or ratings as labels, with both ids as
                features, for the mean squared error.
        """
        device = device_of(self)
        if isinstance(batch, Batch):
            queries = self.query_tower(to_tensors(batch.query, device))
            candidates = self.candidate_tower(to_tensors(batch.candidate, device))
            loss = self.retrieval(queries, candidates, **of_pairs(batch, device))
        else:
            features = to_tensors(batch.features, device)
            queries, candidates = self.query_tower(features), self.candidate_tower(features)
            predictions = self._ratings(queries, candidates)
            weight = None if batch.weight is None else to_tensor(batch.weight, device)
            loss = self.ranking(to_tensor(batch.labels, device), predictions, weight)
        # Both have a constant 1 among their elements.
        squares = queries.square().sum(1) + candidates.square().sum(1) - 2.0
        total: Tensor = loss + self.l2 * squares.mean()
        return total


def build_matrix_factorization(
    users: int,
    items: int,
    dim: int,
    *,
    query_key: str,
    candidate_key: str,
    mean: float = 0.0,
    l2: float = 0.0,
    temperature: float = 1.0,
) -> MatrixFactorization:
    """Build a matrix factorization.

    Args:
        users: Size of the user's encoder: its tokens, missing and unknown.
        items: Size of the item's encoder, likewise.
        dim: Of the vectors; the towers' embeddings have two elements more.
        query_key: The user's id.
        candidate_key: The item's id.
        mean: Of the ratings; needed for ratings only.
        l2: Multiplies the squared vectors and biases of a batch's pairs in the loss, their mean.
        temperature: Divides the scores in the loss of pairs.

    Example:
        >>> model = build_matrix_factorization(
        ...     945, 1684, 32, query_key="user_id", candidate_key="item_id", mean=3.5
        ... )
        >>> model.query_tower({"user_id": torch.tensor([2, 3])}).shape
        torch.Size([2, 34])
        >>> model({"user_id": torch.tensor([0]), "item_id": torch.tensor([0])}).tolist()
        [3.5]
    """
    return MatrixFactorization(
        FactorTower(users, dim, key=query_key, bias_first=True),
        FactorTower(items, dim, key=candidate_key, bias_first=False),
        mean=mean,
        l2=l2,
        temperature=temperature,
    )
