"""The two-tower retrieval model: a query tower, a candidate tower, and the task that trains them."""

from collections.abc import Mapping, Sequence
from typing import Literal

from torch import Tensor, nn

from torchtowers.data.batches import Batch
from torchtowers.data.hidden_item_batches import HiddenItemBatch
from torchtowers.handlers.encoders import Encoder
from torchtowers.models.batch_tensors import device_of, of_pairs, to_tensor, to_tensors
from torchtowers.models.catalogue_softmax import catalogue_softmax
from torchtowers.models.feature_embedding import build_feature_embedding, share_tables
from torchtowers.models.retrieval import Retrieval
from torchtowers.models.towers import PREFIX, BiasedCandidateTower, BiasedQueryTower, Tower

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

    def compute_loss(self, batch: Batch | HiddenItemBatch) -> Tensor:
        """Give the loss of a batch, a scalar: for hidden items `catalogue_softmax`, for pairs the task's."""
        device = device_of(self)
        queries = self.query_tower(to_tensors(batch.query, device))
        candidates = self.candidate_tower(to_tensors(batch.candidate, device))
        if isinstance(batch, HiddenItemBatch):
            return catalogue_softmax(
                queries @ candidates.T,
                to_tensor(batch.targets, device),
                to_tensor(batch.shown, device),
                to_tensor(batch.probability, device),
                self.task.temperature,
            )
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
    share: Mapping[str, str] | None = None,
) -> Tower:
    """Build a tower with a table for each feature.

    Without hidden layers and with tables as wide as the embedding, the features are summed.

    Args:
        encoders: By feature; each tells how it is embedded.
        key: The id's feature; only its table learns a row for unknown tokens.
        embedding_dim: Width of each table.
        hidden: Widths of the hidden layers.
        dim: The embedding's dimension.
        pooling: Of lists, `mean` or `sqrtn`.
        dropout: Of the features.
        unknown_rate: How often an id is taken for unknown in training.
        token_dropout: By list feature, how often one of its tokens is left out in training.
        list_dropout: By list feature, how often all of them are.
        normalize: Whether embeddings have length 1.
        share: By feature, another one whose table it uses; those of no feature here are passed over.

    Raises:
        ValueError: Tables that are to be shared are of different sizes.
    """
    tables = {
        name: build_feature_embedding(
            encoder,
            name,
            embedding_dim,
            pooling=pooling,
            unknown_rate=unknown_rate if name == key and encoder.kind == "token" else 0.0,
            token_dropout=(token_dropout or {}).get(name, 0.0),
            list_dropout=(list_dropout or {}).get(name, 0.0),
        )
        for name, encoder in encoders.items()
    }
    share_tables(tables, {name: other for name, other in (share or {}).items() if other in tables})
    return Tower(
        tables,
        width=embedding_dim * len(tables),
        hidden=hidden,
        dim=dim,
        dropout=dropout,
        normalize=normalize,
        summed=not hidden and embedding_dim == dim,
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
    candidate_dropout: float | None = None,
    unknown_rate: float = 0.0,
    history_dropout: float = 0.0,
    empty_history_rate: float = 0.0,
    normalize: bool = True,
    item_bias: bool = True,
    temperature: float = 1.0,
    remove_accidental_hits: bool = True,
    remove_duplicate_queries: bool = False,
    share: Mapping[str, str] | None = None,
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
        dropout: In training, of each tower's features.
        candidate_dropout: Of the candidate tower's; as `dropout` if not given.
        unknown_rate: In training, how often an id is taken for unknown.
        history_dropout: In training, how often an item of the history is left out.
        empty_history_rate: In training, how often the whole history is.
        normalize: Whether scores are cosines (plus the bias).
        item_bias: Whether each item has a bias of its own, where its id is a feature.
        temperature: Divides the scores in the loss.
        remove_accidental_hits: Whether an item drawn twice into a batch is no negative of itself.
        remove_duplicate_queries: Whether the other items of a user drawn twice are no negatives of theirs.
        share: By feature, another one, of either tower, whose table it uses, as a history may the item's.

    Raises:
        ValueError: Tables that are to be shared are of different sizes, or of a feature that is not there.
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
        dropout=dropout if candidate_dropout is None else candidate_dropout,
        unknown_rate=unknown_rate,
        normalize=normalize,
    )
    tables = {
        name.removeprefix(PREFIX): table
        for tower in (query_tower, candidate_tower)
        for name, table in tower.tables.items()
    }
    share_tables(tables, share or {})
    if item_bias and candidate_key in candidate_encoders:
        query = BiasedQueryTower(query_tower)
        bias = build_feature_embedding(candidate_encoders[candidate_key], candidate_key, 1, std=0.0)
        candidate = BiasedCandidateTower(candidate_tower, bias)
    task = Retrieval(
        temperature=temperature,
        remove_accidental_hits=remove_accidental_hits,
        remove_duplicate_queries=remove_duplicate_queries,
        reduction="mean",
    )
    return TwoTower(query, candidate, task)
