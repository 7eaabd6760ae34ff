"""A ranking model over every feature of a user, an item and their context, with a bias for each value."""

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from torchtowers.data.ranking_batch import RankingBatch
from torchtowers.handlers.encoders import Encoder
from torchtowers.models.batch_tensors import device_of, to_tensor, to_tensors
from torchtowers.models.dcn import CrossNetwork
from torchtowers.models.dot_interaction import DotInteraction
from torchtowers.models.feature_cross import build_feature_crosses
from torchtowers.models.feature_embedding import build_feature_embedding, share_tables
from torchtowers.models.list_loss import ListLoss
from torchtowers.models.mlp import MLP
from torchtowers.models.pointwise_losses import BinaryCrossentropy
from torchtowers.models.rated_clicks import ClickLine, RatedClickLoss
from torchtowers.models.towers import PREFIX

__all__ = ["Ranker", "build_ranker"]

Interaction = Literal["dcn", "dlrm", "wide_and_deep"]


class Ranker(nn.Module):
    """Predicts from what interacting embeddings say, added to a bias of each feature's value.

    The biases are the wide part of Wide & Deep (Cheng et al. 2016), and those of users and items in matrix
    factorization.

    Args:
        embeddings: By feature, a module that takes all features by tensor and gives `[batch, dim]`.
        biases: By feature, or by pair of crossed features, one that gives `[batch, 1]`.
        interaction: From `[batch, features, dim]` to `[batch, width]`.
        top: From there to `[batch, 1]`.
        loss: Of scores and labels; a list loss takes lists of both.
        offset: Added to every score: what is predicted where nothing is known.
        scale: Of what is added to it.
        dropout: In training, of the embeddings.
    """

    offset: Tensor
    scale: Tensor

    def __init__(
        self,
        embeddings: Mapping[str, nn.Module],
        biases: Mapping[str, nn.Module],
        interaction: nn.Module,
        top: nn.Module,
        *,
        loss: nn.Module,
        offset: float = 0.0,
        scale: float = 1.0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.embeddings = nn.ModuleDict({PREFIX + name: module for name, module in embeddings.items()})
        self.biases = nn.ModuleDict({PREFIX + name: module for name, module in biases.items()})
        self.interaction = interaction
        self.top = top
        self.loss = loss
        self.dropout = nn.Dropout(dropout)
        self.register_buffer("offset", torch.tensor(float(offset)))
        self.register_buffer("scale", torch.tensor(float(scale)))
        self.link: nn.Module = nn.Identity()
        if isinstance(loss, BinaryCrossentropy):
            self.link = nn.Sigmoid()
        elif isinstance(loss, RatedClickLoss):
            self.link = ClickLine(float(offset), float(scale), loss.share)
        self.takes_lists = isinstance(loss, ListLoss)

    def score(self, features: dict[str, Tensor]) -> Tensor:
        """Give what the loss learns from, `[batch]`: a rating, or a logit."""
        parts: list[Tensor] = []
        for module in self.embeddings.values():
            parts.append(module(features))  # noqa: PERF401  (TorchScript unrolls no comprehension)
        scores: Tensor = self.top(self.interaction(self.dropout(torch.stack(parts, dim=1))))
        for module in self.biases.values():
            scores = scores + module(features)
        return scores.squeeze(1) * self.scale + self.offset

    def forward(self, features: dict[str, Tensor]) -> Tensor:
        """Predict.

        Args:
            features: By feature, int64 `[batch]` or `[batch, length]`.

        Returns:
            `[batch]`: a rating, a probability where the model learns clicks, or a score.
        """
        predictions: Tensor = self.link(self.score(features))
        return predictions

    @torch.jit.unused
    def compute_loss(self, batch: RankingBatch) -> Tensor:
        """Give the loss of a batch, a scalar; lists come flat, one after the other."""
        device = device_of(self)
        scores = self.score(to_tensors(batch.features, device))
        labels = to_tensor(batch.labels, device)
        loss: Tensor
        if self.takes_lists:
            mask = None if batch.mask is None else to_tensor(batch.mask, device)
            loss = self.loss(scores.view(labels.shape), labels, mask)
        elif isinstance(self.link, ClickLine):
            loss = self.loss(scores, self.link.logits(scores), labels)
        else:
            loss = self.loss(scores, labels)
        return loss


def build_ranker(
    encoders: Mapping[str, Encoder],
    *,
    loss: nn.Module,
    interaction: Interaction = "dcn",
    embedding_dim: int = 32,
    hidden: Sequence[int] = (256, 128),
    cross_layers: int = 2,
    offset: float = 0.0,
    scale: float = 1.0,
    dropout: float = 0.0,
    unknown_rate: float = 0.0,
    keys: Sequence[str] = (),
    share: Mapping[str, str] | None = None,
    crosses: Sequence[tuple[str, str]] = (),
) -> Ranker:
    """Build a ranking model from the encoders of its features.

    Args:
        encoders: By feature.
        loss: `MeanSquaredError()`, `BinaryCrossentropy(from_logits=True)`, `RatedClickLoss`, or one over
            lists.
        interaction: `dcn`: cross layers of DCN-v2, then layers; `dlrm`: dot products of all pairs, then
            layers; `wide_and_deep`: layers over the embeddings.
        embedding_dim: Width of each feature's table.
        hidden: Widths of the layers before the score.
        cross_layers: Of `dcn`.
        offset: The score where nothing is known: the mean label.
        scale: Of what the features add to it: the labels' standard deviation.
        dropout: In training, of the embeddings and of the hidden layers.
        unknown_rate: In training, how often an id is taken for unknown.
        keys: The features that are ids.
        share: By feature, another one whose table it uses, as a history may the item's.
        crosses: Pairs of features of which each pair of values has a bias as well.

    Raises:
        ValueError: A loss takes probabilities, a number is out of range, a dot product has no second feature,
            or a feature can't be crossed.

    Example:
        >>> from torchtowers.handlers.encoders import TokenEncoder, Vocabulary
        >>> from torchtowers.models import MeanSquaredError
        >>> encoders = {"user": TokenEncoder(Vocabulary("ab")), "item": TokenEncoder(Vocabulary("xyz"))}
        >>> model = build_ranker(encoders, loss=MeanSquaredError(), offset=3.5)
        >>> model({"user": torch.tensor([2, 3]), "item": torch.tensor([4, 0])}).shape
        torch.Size([2])
    """
    if isinstance(loss, BinaryCrossentropy) and not loss.from_logits:
        raise ValueError("the loss gets scores here, not probabilities: BinaryCrossentropy(from_logits=True)")
    count, width = len(encoders), len(encoders) * embedding_dim
    network: nn.Module
    if interaction == "dlrm":
        if count < 2:
            raise ValueError(f"a dot product needs two features, got only {', '.join(encoders) or 'none'}")
        network, width = DotInteraction(), count * (count - 1) // 2
    else:
        network = CrossNetwork(width, num_layers=cross_layers) if interaction == "dcn" else nn.Flatten()
    rates = {
        name: unknown_rate if name in keys and encoder.kind == "token" else 0.0
        for name, encoder in encoders.items()
    }
    embeddings = {
        name: build_feature_embedding(encoder, name, embedding_dim, pooling="sqrtn", unknown_rate=rates[name])
        for name, encoder in encoders.items()
    }
    biases = {
        name: build_feature_embedding(encoder, name, 1, pooling="sqrtn", std=0.0)
        for name, encoder in encoders.items()
    }
    share_tables(embeddings, share or {})
    share_tables(biases, {})
    biases |= build_feature_crosses(encoders, crosses)
    return Ranker(
        embeddings,
        biases,
        network,
        MLP(width, [*hidden, 1], dropout=dropout),
        loss=loss,
        offset=offset,
        scale=scale,
        dropout=dropout,
    )
