"""Sequential retrieval: the query is what an encoder makes of a history of items, GRU4Rec's or SASRec's."""

import torch
from torch import Tensor, nn

from torchtowers.data.sequence_batches import SequenceBatch
from torchtowers.models.batch_tensors import device_of, to_tensor
from torchtowers.models.embeddings import TokenEmbedding
from torchtowers.models.gru import GRUEncoder
from torchtowers.models.id_tower import IdTower
from torchtowers.models.last_state import last_state
from torchtowers.models.sampled_losses import sampled_softmax
from torchtowers.models.self_attention import SelfAttentiveEncoder

__all__ = ["HistoryTower", "SequentialTwoTower", "build_gru4rec", "build_sasrec"]


class HistoryTower(nn.Module):
    """A query tower that looks at a history only; an empty one has an embedding of its own.

    Args:
        table: Of the items.
        encoder: Takes `[batch, length, dim]` and which places are real, bool `[batch, length]`, and gives
            `[batch, length, dim]`; `GRUEncoder` and `SelfAttentiveEncoder` are such.
        history: The feature that lists items, oldest first; others are not looked at.
    """

    def __init__(self, table: TokenEmbedding, encoder: nn.Module, *, history: str) -> None:
        super().__init__()
        self.table = table
        self.encoder = encoder
        self.empty = nn.Parameter(torch.zeros(table.weight.size(1)))
        self.history = history
        self.padding = table.padding

    def forward(self, features: dict[str, Tensor]) -> Tensor:
        """Embed a batch.

        Args:
            features: The history is int64 `[batch, length]`, padded with 0 anywhere; the length may be 0 (not
                in an exported ONNX model).

        Returns:
            `[batch, dim]`.
        """
        indices = features[self.history]
        if indices.size(1) == 0:
            return self.empty.expand(indices.size(0), -1)
        present = indices != self.padding
        last = last_state(self.encoder(self.table(indices), present), present)
        return torch.where(present.any(1, keepdim=True), last, self.empty)


class SequentialTwoTower(nn.Module):
    """Scores a candidate by the dot product of its row in the item table and the state of the history.

    The table is one for both. Each item of a history is learnt from those before it, its first one from the
    empty history, which so gets an answer for users of whom nothing is known. Of a part from the middle of a
    history the first item is learnt from nothing: it only tells of those that follow.

    Args:
        query_tower: Of the history.
        candidate_tower: Of the item; has the same table.

    Raises:
        ValueError: They are no `HistoryTower` and `IdTower`, or the towers have different tables.
    """

    def __init__(self, query_tower: HistoryTower, candidate_tower: IdTower) -> None:
        super().__init__()
        if not isinstance(query_tower, HistoryTower) or not isinstance(candidate_tower, IdTower):
            got = f"{type(query_tower).__name__} and {type(candidate_tower).__name__}"
            raise ValueError(f"the towers have to be a HistoryTower and an IdTower of one table, got {got}")
        if query_tower.table is not candidate_tower.table:
            raise ValueError("the towers have different tables: give the same TokenEmbedding to both")
        self.query_tower = query_tower
        self.candidate_tower = candidate_tower

    def compute_loss(self, batch: SequenceBatch) -> Tensor:
        """Give the mean over all places of the sampled softmax of the next item, a scalar.

        Negatives are the batch's, without those that are a place's own item; scores are corrected by how
        likely an item is sampled, so that the loss estimates the one over the whole catalogue.

        Raises:
            ValueError: Histories are longer than the encoder sees.
        """
        table = self.query_tower.table
        device = device_of(self)
        items, negatives = to_tensor(batch.items, device), to_tensor(batch.negatives, device)
        present = items != table.padding
        embeddings = table(items)
        learnt = present.clone()
        learnt[:, 0] &= to_tensor(batch.begins, device)
        queries = self._before(embeddings, present)[learnt]
        return sampled_softmax(
            (queries * embeddings[learnt]).sum(1),
            queries @ table(negatives).T,
            positive_probability=to_tensor(batch.probability, device)[learnt],
            negative_probability=to_tensor(batch.negative_probability, device),
            mask=items[learnt][:, None] != negatives[None, :],
        )

    def _before(self, embeddings: Tensor, present: Tensor) -> Tensor:
        """Give the state before each place, `[batch, length, dim]`."""
        empty = self.query_tower.empty.expand(embeddings.size(0), 1, -1)
        if embeddings.size(1) == 1:
            return empty
        encoder = self.query_tower.encoder
        longest = getattr(encoder, "max_length", None)
        # The states before the last items that are seen have no meaning.
        if longest is not None and embeddings.size(1) - 1 > longest:
            raise ValueError(
                f"an item is to be learnt from the {embeddings.size(1) - 1} before it, but the encoder sees "
                f"{longest}: give SequenceBatches and the model the same max_length"
            )
        # Padding stands at the end, so that the place before is the item before.
        states = encoder(embeddings[:, :-1], present[:, :-1])
        return torch.cat([empty, states], dim=1)


def build_gru4rec(
    size: int,
    *,
    history: str,
    candidate_key: str,
    dim: int = 100,
    hidden: int = 100,
    layers: int = 1,
    dropout: float = 0.0,
) -> SequentialTwoTower:
    """Build GRU4Rec (Hidasi et al. 2016), with an item table that is input and output in one.

    TFRS's tutorial on sequential retrieval is `dim=32, hidden=32` on histories of 10 items, so batches with
    `max_length=10`; it has two item tables, and learns the last place of a history only.

    Args:
        size: Of the item's encoder: its tokens, missing and unknown.
        history: The user's feature that lists items.
        candidate_key: The item's id.
        dim: Width of the item table, and dimension of the embeddings.
        hidden: Units of a layer.
        layers: Number of layers.
        dropout: In training, of each layer's states.

    Example:
        >>> model = build_gru4rec(1684, history="history", candidate_key="item_id", dim=32, hidden=32)
        >>> model.query_tower({"history": torch.tensor([[7, 3, 0], [5, 0, 0]])}).shape
        torch.Size([2, 32])
    """
    encoder = GRUEncoder(dim, hidden=hidden, layers=layers, dropout=dropout)
    return _build(size, dim, encoder, history, candidate_key)


def build_sasrec(
    size: int,
    *,
    history: str,
    candidate_key: str,
    dim: int = 50,
    max_length: int = 50,
    blocks: int = 2,
    heads: int = 1,
    dropout: float = 0.5,
) -> SequentialTwoTower:
    """Build SASRec (Kang & McAuley 2018), trained by sampled softmax instead of one negative a place.

    The paper takes `max_length=200, dropout=0.2` for MovieLens-1M, and the defaults for sparser data.

    Args:
        size: Of the item's encoder: its tokens, missing and unknown.
        history: The user's feature that lists items.
        candidate_key: The item's id.
        dim: Width of the item table, and dimension of the embeddings.
        max_length: The last items of a history that are seen; as of the batches.
        blocks: Number of blocks.
        heads: Of each attention; divides `dim`.
        dropout: In training, of embeddings, attention weights and each layer.

    Example:
        >>> model = build_sasrec(1684, history="history", candidate_key="item_id")
        >>> model.candidate_tower({"item_id": torch.tensor([7, 3])}).shape
        torch.Size([2, 50])
    """
    encoder = SelfAttentiveEncoder(dim, max_length=max_length, blocks=blocks, heads=heads, dropout=dropout)
    return _build(size, dim, encoder, history, candidate_key)


def _build(size: int, dim: int, encoder: nn.Module, history: str, candidate_key: str) -> SequentialTwoTower:
    table = TokenEmbedding(size, dim)
    query_tower = HistoryTower(table, encoder, history=history)
    return SequentialTwoTower(query_tower, IdTower(table, key=candidate_key))
