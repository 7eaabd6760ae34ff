"""Sequential retrieval: the query is what an encoder makes of a history of items, GRU4Rec's or SASRec's."""

import torch
import torch.nn.functional as F
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
        pooled: A second table of the items, whose rows' sum, divided by the square root of their number, is
            added to the encoder's state: what the user likes at any time, beside what they do now.
        dropout: In training, of the tables' rows and of their sum.
        normalize: Whether embeddings have length 1.
        bias: Whether they end in a constant 1, the counterpart of the candidates' bias.
    """

    def __init__(
        self,
        table: TokenEmbedding,
        encoder: nn.Module,
        *,
        history: str,
        pooled: TokenEmbedding | None = None,
        dropout: float = 0.0,
        normalize: bool = False,
        bias: bool = False,
    ) -> None:
        super().__init__()
        self.table = table
        self.encoder = encoder
        self.pooled = pooled
        self.dropout = nn.Dropout(dropout)
        self.empty = nn.Parameter(torch.zeros(table.weight.size(1)))
        self.history = history
        self.padding = table.padding
        self.normalize = normalize
        self.bias = bias

    def forward(self, features: dict[str, Tensor]) -> Tensor:
        """Embed a batch.

        Args:
            features: The history is int64 `[batch, length]`, padded with 0 anywhere; the length may be 0 (not
                in an exported ONNX model).

        Returns:
            `[batch, dim]`, with a bias `[batch, dim + 1]`.
        """
        indices = features[self.history]
        if indices.size(1) == 0:
            return self.finish(self.empty.expand(indices.size(0), -1))
        present = indices != self.padding
        last = last_state(self.states(indices, present), present)
        return self.finish(torch.where(present.any(1, keepdim=True), last, self.empty))

    def states(self, indices: Tensor, present: Tensor) -> Tensor:
        """Give what is known after each place, not `finish`ed yet, `[batch, length, dim]`."""
        states: Tensor = self.encoder(self.dropout(self.table(indices)), present)
        if self.pooled is not None:
            number = present.long().cumsum(1).clamp(min=1).unsqueeze(-1)
            states = states + self.dropout(self.pooled(indices).cumsum(1) / number.to(states.dtype).sqrt())
        return states

    def finish(self, states: Tensor) -> Tensor:
        """Make embeddings of states, `[..., dim]`."""
        if self.normalize:
            states = F.normalize(states, dim=-1)
        if self.bias:
            states = torch.cat([states, torch.ones_like(states[..., :1])], dim=-1)
        return states


class SequentialTwoTower(nn.Module):
    """Scores a candidate by the dot product of its embedding and the state of the history.

    Each item of a history is learnt from those before it, its first one from the empty history, which so gets
    an answer for users of whom nothing is known.

    Args:
        query_tower: Of the history.
        candidate_tower: Of the item; may have the same table.
        temperature: Divides the scores in the loss.
        mask_seen: Whether items of the history before a place are no negatives of it: for catalogues of which
            nobody takes an item twice, and whose answers leave out what the user had.

    Raises:
        ValueError: They are no `HistoryTower` and `IdTower`, one normalises its embeddings or has a bias and
            the other one not, or the temperature is not positive.
    """

    def __init__(
        self,
        query_tower: HistoryTower,
        candidate_tower: IdTower,
        *,
        temperature: float = 1.0,
        mask_seen: bool = False,
    ) -> None:
        super().__init__()
        if not isinstance(query_tower, HistoryTower) or not isinstance(candidate_tower, IdTower):
            got = f"{type(query_tower).__name__} and {type(candidate_tower).__name__}"
            raise ValueError(f"the towers have to be a HistoryTower and an IdTower, got {got}")
        if query_tower.bias != (candidate_tower.bias is not None):
            raise ValueError("one tower has a bias and the other one has none: give both the same")
        if query_tower.normalize != candidate_tower.normalize:
            raise ValueError(
                "one tower normalises its embeddings and the other one does not: give both the same"
            )
        if not temperature > 0:
            raise ValueError(f"the temperature has to be positive, got {temperature}")
        self.query_tower = query_tower
        self.candidate_tower = candidate_tower
        self.temperature = temperature
        self.mask_seen = mask_seen

    def compute_loss(self, batch: SequenceBatch) -> Tensor:
        """Give the mean over all places of the sampled softmax of the next item, a scalar.

        Negatives are the batch's, without those that are a place's own item; scores are corrected by how
        likely an item is sampled, so that the loss estimates the one over the whole catalogue.

        Raises:
            ValueError: Histories are longer than the encoder sees.
        """
        device = device_of(self)
        items, negatives = to_tensor(batch.items, device), to_tensor(batch.negatives, device)
        learnt = to_tensor(batch.learnt, device)
        own = items[learnt]
        key = self.candidate_tower.key
        mask = own[:, None] != negatives[None, :]
        if self.mask_seen:
            mask &= _is_unseen(items, learnt, negatives, to_tensor(batch.earlier, device))
        queries = self._before(items)[learnt]
        return sampled_softmax(
            (queries * self.candidate_tower({key: own})).sum(1),
            queries @ self.candidate_tower({key: negatives}).T,
            positive_probability=to_tensor(batch.probability, device)[learnt],
            negative_probability=to_tensor(batch.negative_probability, device),
            mask=mask,
            temperature=self.temperature,
        )

    def _before(self, items: Tensor) -> Tensor:
        """Embed what is known before each place, `[batch, length, dim]`."""
        tower = self.query_tower
        states = tower.empty.expand(items.size(0), 1, -1)
        longest = getattr(tower.encoder, "max_length", None)
        # The states before the last items that are seen have no meaning.
        if longest is not None and items.size(1) - 1 > longest:
            raise ValueError(
                f"an item is to be learnt from the {items.size(1) - 1} before it, but the encoder sees "
                f"{longest}: give SequenceBatches and the model the same max_length"
            )
        if items.size(1) > 1:
            # Padding stands at the end, so that the place before is the item before.
            known = items[:, :-1]
            states = torch.cat([states, tower.states(known, known != tower.padding)], dim=1)
        return tower.finish(states)


def _is_unseen(items: Tensor, learnt: Tensor, negatives: Tensor, earlier: Tensor) -> Tensor:
    """Tell which negatives are not in the history before each learnt place, bool `[places, negatives]`."""
    count = items.size(1)
    size = int(max(items.max(), negatives.max(), earlier.max())) + 1
    places = torch.arange(count, device=items.device).expand_as(items)
    first = torch.full((items.size(0), size), count, dtype=torch.int32, device=items.device)
    first.scatter_reduce_(1, items, places.int(), "amin")
    first.scatter_(1, earlier, -1)
    rows, place = learnt.nonzero(as_tuple=True)
    return first[:, negatives][rows] >= place[:, None]


def build_gru4rec(
    size: int,
    *,
    history: str,
    candidate_key: str,
    dim: int = 100,
    hidden: int = 100,
    layers: int = 1,
    dropout: float = 0.0,
    pooled: bool = False,
    shared: bool = True,
    normalize: bool = False,
    item_bias: bool = False,
    temperature: float = 1.0,
    mask_seen: bool = False,
) -> SequentialTwoTower:
    """Build GRU4Rec (Hidasi et al. 2016), with an item table that is input and output in one if `shared`.

    TFRS's tutorial on sequential retrieval is `dim=32, hidden=32` on histories of 10 items, so batches with
    `max_length=10`; it has two item tables, and learns the last place of a history only.

    Args:
        size: Of the item's encoder: its tokens, missing and unknown.
        history: The user's feature that lists items.
        candidate_key: The item's id.
        dim: Width of the item table, and dimension of the embeddings.
        hidden: Units of a layer.
        layers: Number of layers.
        dropout: In training, of embeddings and of each layer's states.
        pooled: Whether the sum of a second table's rows is added to the state, see `HistoryTower`.
        shared: Whether one table is the encoder's input and the candidates' too.
        normalize: Whether scores are cosines, plus the bias.
        item_bias: Whether each item has a bias of its own.
        temperature: Divides the scores in the loss.
        mask_seen: See `SequentialTwoTower`.

    Example:
        >>> model = build_gru4rec(1684, history="history", candidate_key="item_id", dim=32, hidden=32)
        >>> model.query_tower({"history": torch.tensor([[7, 3, 0], [5, 0, 0]])}).shape
        torch.Size([2, 32])
    """
    encoder = GRUEncoder(dim, hidden=hidden, layers=layers, dropout=dropout)
    return _build(
        TokenEmbedding(size, dim),
        encoder,
        history=history,
        candidate_key=candidate_key,
        dropout=dropout,
        pooled=pooled,
        shared=shared,
        normalize=normalize,
        item_bias=item_bias,
        temperature=temperature,
        mask_seen=mask_seen,
    )


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
    pooled: bool = False,
    shared: bool = True,
    normalize: bool = False,
    item_bias: bool = False,
    temperature: float = 1.0,
    mask_seen: bool = False,
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
        pooled: As in `build_gru4rec`, and so are the next five.
        shared: One table.
        normalize: Cosines.
        item_bias: Of each item.
        temperature: Of the loss.
        mask_seen: See `SequentialTwoTower`.

    Example:
        >>> model = build_sasrec(1684, history="history", candidate_key="item_id")
        >>> model.candidate_tower({"item_id": torch.tensor([7, 3])}).shape
        torch.Size([2, 50])
    """
    encoder = SelfAttentiveEncoder(dim, max_length=max_length, blocks=blocks, heads=heads, dropout=dropout)
    return _build(
        TokenEmbedding(size, dim),
        encoder,
        history=history,
        candidate_key=candidate_key,
        pooled=pooled,
        shared=shared,
        normalize=normalize,
        item_bias=item_bias,
        temperature=temperature,
        mask_seen=mask_seen,
    )


def _build(
    table: TokenEmbedding,
    encoder: nn.Module,
    *,
    history: str,
    candidate_key: str,
    pooled: bool,
    shared: bool,
    normalize: bool,
    item_bias: bool,
    temperature: float,
    mask_seen: bool,
    dropout: float = 0.0,
) -> SequentialTwoTower:
    size, dim = table.weight.shape
    query_tower = HistoryTower(
        table,
        encoder,
        history=history,
        pooled=TokenEmbedding(size, dim) if pooled else None,
        dropout=dropout,
        normalize=normalize,
        bias=item_bias,
    )
    candidate_tower = IdTower(
        table if shared else TokenEmbedding(size, dim),
        key=candidate_key,
        normalize=normalize,
        bias=item_bias,
    )
    return SequentialTwoTower(query_tower, candidate_tower, temperature=temperature, mask_seen=mask_seen)
