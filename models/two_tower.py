"""The two-tower retrieval model: a query tower, a candidate tower, and the task that trains them."""

from collections.abc import Mapping, Sequence
from typing import Literal

from torch import Tensor, nn

from torchtowers.data.batches import Batch
from torchtowers.handlers.encoders import Encoder
from torchtowers.models.batch_tensors import device_of, of_pairs, to_tensors
from torchtowers.models.embeddings import ListEmbedding, TokenEmbedding
from torchtowers.models.retrieval import Retrieval
from torchtowers.models.towers import BiasedCandidateTower, BiasedQueryTower, Tower

__all__ = ["TwoTower", "build_tower", "build_two_tower"]


class TwoTower(nn.Module):
    """Scores a query and a candidate by the dot product of what two towers make of them.

    Args:
        query_tower: Gives `[batch, dim]`.
        candidate_tower: Gives `[batch, dim]`.
        task: Computes the loss of a batch's embeddings.
    """

    def __init__(self, query_tower: nn.Module, candidate_tower: nn.Module, task: Retrieval) -> None:
        super().__init__()
        self.query_tower = query_tower
        self.candidate_tower = candidate_tower
        self.task = task

    def compute_loss(self, batch: Batch) -> Tensor:
        """Give the loss of a batch, a scalar."""
        device = device_of(self)
        queries = self.query_tower(to_tensors(batch.query, device))
        candidates = self.candidate_tower(to_tensors(batch.candidate, device))
        loss: Tensor = self.task(queries, candidates, **of_pairs(batch, device))
        return loss


def build_tower(
    encoders: Mapping[str, Encoder],
    *,
    key: str,
    embedding_dim: int,
    hidden: Sequence[int],
    dim: int,
    pooling: Literal["mean", "sqrtn"] = "mean",
    dropout: float = 0.0,
    unknown_rate: float = 0.0,
    token_dropout: Mapping[str, float] | None = None,
    list_dropout: Mapping[str, float] | None = None,
    normalize: bool = True,
) -> Tower:
    """Build a tower with a table for each feature.

    Args:
        encoders: By feature; tells the tables' sizes, and whether a feature is a list.
        key: The id's feature; only its table learns a row for unknown tokens.
        embedding_dim: Width of each table.
        hidden: Widths of the hidden layers.
        dim: The embedding's dimension.
        pooling: Of lists, `mean` or `sqrtn`.
        dropout: Of the concatenated features.
        unknown_rate: How often an id is taken for unknown in training.
        token_dropout: By list feature, how often one of its tokens is left out in training.
        list_dropout: By list feature, how often all of them are.
        normalize: Whether embeddings have length 1.
    """
    tables: dict[str, nn.Module] = {}
    for name, encoder in encoders.items():
        if encoder.is_list:
            tables[name] = ListEmbedding(
                encoder.size,
                embedding_dim,
                pooling=pooling,
                token_dropout=(token_dropout or {}).get(name, 0.0),
                list_dropout=(list_dropout or {}).get(name, 0.0),
            )
        else:
            rate = unknown_rate if name == key else 0.0
            tables[name] = TokenEmbedding(encoder.size, embedding_dim, unknown_rate=rate)
    return Tower(
        tables,
        width=embedding_dim * len(tables),
        hidden=hidden,
        dim=dim,
        dropout=dropout,
        normalize=normalize,
    )


def build_two_tower(
    query_encoders: Mapping[str, Encoder],
    candidate_encoders: Mapping[str, Encoder],
    *,
    query_key: str,
    candidate_key: str,
    history: str | None = None,
    embedding_dim: int = 64,
    query_hidden: Sequence[int] = (),
    candidate_hidden: Sequence[int] = (),
    dim: int = 64,
    pooling: Literal["mean", "sqrtn"] = "mean",
    dropout: float = 0.0,
    unknown_rate: float = 0.0,
    history_dropout: float = 0.0,
    empty_history_rate: float = 0.0,
    normalize: bool = True,
    item_bias: bool = True,
    temperature: float = 1.0,
    remove_accidental_hits: bool = True,
    remove_duplicate_queries: bool = False,
) -> TwoTower:
    """Build a two-tower model from the encoders of its features.

    Args:
        query_encoders: The user's features.
        candidate_encoders: The item's features.
        query_key: The user's id.
        candidate_key: The item's id.
        history: The user's feature that lists liked items, if there is one.
        embedding_dim: Width of each feature's table.
        query_hidden: Widths of the query tower's hidden layers.
        candidate_hidden: Widths of the candidate tower's hidden layers.
        dim: Dimension of the embeddings; an item's bias adds one.
        pooling: Of lists, `mean` or `sqrtn`.
        dropout: In training, of each tower's concatenated features.
        unknown_rate: In training, how often an id is taken for unknown.
        history_dropout: In training, how often an item of the history is left out.
        empty_history_rate: In training, how often the whole history is.
        normalize: Whether scores are cosines (plus the bias).
        item_bias: Whether each item has a bias of its own.
        temperature: Divides the scores in the loss.
        remove_accidental_hits: Whether an item drawn twice into a batch is no negative of itself.
        remove_duplicate_queries: Whether the other items of a user drawn twice are no negatives of theirs.
    """
    query: nn.Module
    candidate: nn.Module
    query = query_tower = build_tower(
        query_encoders,
        key=query_key,
        embedding_dim=embedding_dim,
        hidden=query_hidden,
        dim=dim,
        pooling=pooling,
        dropout=dropout,
        unknown_rate=unknown_rate,
        token_dropout={} if history is None else {history: history_dropout},
        list_dropout={} if history is None else {history: empty_history_rate},
        normalize=normalize,
    )
    candidate = candidate_tower = build_tower(
        candidate_encoders,
        key=candidate_key,
        embedding_dim=embedding_dim,
        hidden=candidate_hidden,
        dim=dim,
        pooling=pooling,
        dropout=dropout,
        unknown_rate=unknown_rate,
        normalize=normalize,
    )
    if item_bias:
        query = BiasedQueryTower(query_tower)
        size = candidate_encoders[candidate_key].size
        candidate = BiasedCandidateTower(candidate_tower, key=candidate_key, size=size)
    task = Retrieval(
        temperature=temperature,
        remove_accidental_hits=remove_accidental_hits,
        remove_duplicate_queries=remove_duplicate_queries,
        reduction="mean",
    )
    return TwoTower(query, candidate, task)
