"""Two towers that learn retrieval and ratings together."""

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from torchtowers.data.ranking_batch import RatedBatch
from torchtowers.handlers.encoders import Encoder
from torchtowers.models.batch_tensors import device_of, of_pairs, to_tensor, to_tensors
from torchtowers.models.mlp import MLP
from torchtowers.models.pointwise_losses import MeanSquaredError
from torchtowers.models.ranking import Ranking
from torchtowers.models.retrieval import Retrieval
from torchtowers.models.two_tower import build_two_tower

__all__ = ["MultiTask", "build_multi_task"]


class MultiTask(nn.Module):
    """Retrieves by the towers' dot product, and predicts ratings from both embeddings.

    The model of TFRS's multitask tutorial. A loss of weight 0 is not computed.

    Args:
        query_tower: Gives `[batch, dim]`.
        candidate_tower: Gives `[batch, dim]`.
        rating: From both embeddings, one behind the other, `[batch, 2 * dim]`, to `[batch, 1]`.
        retrieval: The loss of a batch's embeddings; reduces to a scalar, as does the next.
        ranking: The loss of the ratings.
        retrieval_weight: Multiplies the first loss.
        rating_weight: Multiplies the second.

    Raises:
        ValueError: A weight is negative, or both are 0.
    """

    def __init__(
        self,
        query_tower: nn.Module,
        candidate_tower: nn.Module,
        rating: nn.Module,
        *,
        retrieval: Retrieval,
        ranking: Ranking,
        retrieval_weight: float = 1.0,
        rating_weight: float = 1.0,
    ) -> None:
        super().__init__()
        if min(retrieval_weight, rating_weight) < 0 or retrieval_weight + rating_weight == 0:
            raise ValueError(
                "weights must not be negative and one of them positive, "
                f"got {retrieval_weight} for retrieval and {rating_weight} for ratings"
            )
        self.query_tower = query_tower
        self.candidate_tower = candidate_tower
        self.rating = rating
        self.retrieval = retrieval
        self.ranking = ranking
        self.retrieval_weight = retrieval_weight
        self.rating_weight = rating_weight

    def forward(self, query: dict[str, Tensor], candidate: dict[str, Tensor]) -> Tensor:
        """Predict the rating of each pair.

        Args:
            query: The query tower's features.
            candidate: The candidate tower's.

        Returns:
            `[batch]`.
        """
        return self._rate(self.query_tower(query), self.candidate_tower(candidate))

    def _rate(self, queries: Tensor, candidates: Tensor) -> Tensor:
        ratings: Tensor = self.rating(torch.cat([queries, candidates], dim=1))
        return ratings.squeeze(1)

    @torch.jit.unused
    def compute_loss(self, batch: RatedBatch) -> Tensor:
        """Give the weighted sum of both losses, a scalar."""
        device = device_of(self)
        queries = self.query_tower(to_tensors(batch.pairs.query, device))
        candidates = self.candidate_tower(to_tensors(batch.pairs.candidate, device))
        losses = []
        if self.retrieval_weight > 0:
            loss = self.retrieval(queries, candidates, **of_pairs(batch.pairs, device))
            losses.append(self.retrieval_weight * loss)
        if self.rating_weight > 0:
            loss = self.ranking(to_tensor(batch.ratings, device), self._rate(queries, candidates))
            losses.append(self.rating_weight * loss)
        # Not stacked: a loss that is no scalar would be summed without a word.
        total: Tensor = sum(losses[1:], losses[0])
        return total


def build_multi_task(
    query_encoders: Mapping[str, Encoder],
    candidate_encoders: Mapping[str, Encoder],
    *,
    query_key: str,
    candidate_key: str,
    history: str | None = None,
    embedding_dim: int = 32,
    query_hidden: Sequence[int] = (),
    candidate_hidden: Sequence[int] = (),
    dim: int = 32,
    pooling: Literal["mean", "sqrtn"] = "mean",
    dropout: float = 0.0,
    unknown_rate: float = 0.0,
    history_dropout: float = 0.0,
    empty_history_rate: float = 0.0,
    normalize: bool = False,
    temperature: float = 1.0,
    remove_accidental_hits: bool = True,
    remove_duplicate_queries: bool = False,
    rating_hidden: Sequence[int] = (256, 128),
    retrieval_weight: float = 1.0,
    rating_weight: float = 1.0,
    ranking: Ranking | None = None,
    share: Mapping[str, str] | None = None,
) -> MultiTask:
    """Build a model of both tasks from the encoders of its features.

    Args:
        query_encoders: The user's features.
        candidate_encoders: The item's features.
        query_key: The user's id.
        candidate_key: The item's id.
        history: The user's feature that lists liked items, if there is one.
        embedding_dim: Width of each feature's table.
        query_hidden: Widths of the query tower's hidden layers.
        candidate_hidden: Widths of the candidate tower's hidden layers.
        dim: Dimension of the embeddings.
        pooling: Of lists, `mean` or `sqrtn`.
        dropout: As in `build_two_tower`, and so are the next three.
        unknown_rate: Of ids.
        history_dropout: Of a history's items.
        empty_history_rate: Of whole histories.
        normalize: Whether retrieval scores are cosines.
        temperature: Divides them in the loss.
        remove_accidental_hits: Whether an item drawn twice into a batch is no negative of itself.
        remove_duplicate_queries: Whether the other items of a user drawn twice are no negatives of theirs.
        rating_hidden: Widths of the layers between the embeddings and the rating.
        retrieval_weight: Of the retrieval loss, a mean over the batch; TFRS sums, which weighs it by the
            batch's size.
        rating_weight: Of the loss of the ratings.
        ranking: That loss; the mean squared error if not given.
        share: As in `build_two_tower`.

    Raises:
        ValueError: A number is out of range, or a table can't be shared.
    """
    towers = build_two_tower(
        query_encoders,
        candidate_encoders,
        query_key=query_key,
        candidate_key=candidate_key,
        history=history,
        embedding_dim=embedding_dim,
        query_hidden=query_hidden,
        candidate_hidden=candidate_hidden,
        dim=dim,
        pooling=pooling,
        dropout=dropout,
        unknown_rate=unknown_rate,
        history_dropout=history_dropout,
        empty_history_rate=empty_history_rate,
        normalize=normalize,
        item_bias=False,
        temperature=temperature,
        remove_accidental_hits=remove_accidental_hits,
        remove_duplicate_queries=remove_duplicate_queries,
        share=share,
    )
    return MultiTask(
        towers.query_tower,
        towers.candidate_tower,
        MLP(2 * dim, [*rating_hidden, 1]),
        retrieval=towers.task,
        ranking=Ranking(MeanSquaredError()) if ranking is None else ranking,
        retrieval_weight=retrieval_weight,
        rating_weight=rating_weight,
    )
