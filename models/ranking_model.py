"""A ranking model of interacting embeddings: the frame of DLRM and of Deep & Cross."""

import torch
from torch import Tensor, nn

from torchtowers.data.ranking_batch import RankingBatch
from torchtowers.models.batch_tensors import device_of, to_tensor, to_tensors
from torchtowers.models.pointwise_losses import BinaryCrossentropy
from torchtowers.models.ranking import Ranking

__all__ = ["RankingModel", "check_takes_scores"]


class RankingModel(nn.Module):
    """Embeds, lets the embeddings interact, and predicts: TFRS's `experimental.models.Ranking`.

    Embedded features, then the dense ones after the bottom layers, go into the interaction; what it gives,
    behind the dense ones with `concat_dense`, goes into the top layers.

    Args:
        embedding: Takes the features by name and gives `[batch, features, dim]`.
        interaction: Takes `[batch, features, dim]`, the dense ones last, and gives `[batch, width]`.
        top: From there to `[batch, 1]`, the score.
        bottom: Brings the dense features to `[batch, dim]`; `None` without dense features.
        dense: The name of the dense features.
        concat_dense: Whether the top layers see the dense features beside the interactions.
        padding: Columns of zeros that the top layers see behind all else, so that their width is a multiple
            of what a processor takes at once.
        activation: From the score to the prediction. If not given, the sigmoid where the task is
            cross-entropy of logits, so that it is a probability, and none elsewhere.
        task: Takes labels and scores, not predictions; cross-entropy of logits if not given.
    """

    def __init__(
        self,
        embedding: nn.Module,
        interaction: nn.Module,
        top: nn.Module,
        *,
        bottom: nn.Module | None = None,
        dense: str = "dense",
        concat_dense: bool = True,
        padding: int = 0,
        activation: nn.Module | None = None,
        task: Ranking | None = None,
    ) -> None:
        super().__init__()
        self.embedding = embedding
        self.bottom = bottom
        self.interaction = interaction
        self.top = top
        self.dense = dense
        self.concat_dense = concat_dense
        self.padding = padding
        self.task = Ranking(BinaryCrossentropy(from_logits=True)) if task is None else task
        if activation is None:
            loss = self.task.loss
            takes_logits = isinstance(loss, BinaryCrossentropy) and loss.from_logits
            activation = nn.Sigmoid() if takes_logits else nn.Identity()
        self.activation = activation

    def score(self, features: dict[str, Tensor]) -> Tensor:
        """Give what the task learns from, `[batch]`: logits by default."""
        embedded: Tensor = self.embedding(features)
        parts: list[Tensor] = []
        if self.bottom is not None:
            if self.dense not in features:
                raise ValueError(f"feature {self.dense} is missing: got {', '.join(features.keys())}")
            dense: Tensor = self.bottom(features[self.dense])
            embedded = torch.cat([embedded, dense.unsqueeze(1)], dim=1)
            if self.concat_dense:
                parts.append(dense)
        interactions: Tensor = self.interaction(embedded)
        parts.append(interactions)
        if self.padding > 0:
            parts.append(interactions.new_zeros(interactions.size(0), self.padding))
        scores: Tensor = self.top(torch.cat(parts, dim=1))
        return scores.squeeze(1)

    def forward(self, features: dict[str, Tensor]) -> Tensor:
        """Predict.

        Args:
            features: By feature, int64 `[batch]` or `[batch, length]`; the dense ones together
                `[batch, width]`.

        Returns:
            `[batch]`, of probabilities by default; also for a batch of one, whose dimension TFRS drops.

        Raises:
            ValueError: A feature is missing or has another shape.
        """
        predictions: Tensor = self.activation(self.score(features))
        return predictions

    @torch.jit.unused
    def compute_loss(self, batch: RankingBatch) -> Tensor:
        """Give the loss of a batch, a scalar unless the task's loss does not reduce."""
        device = device_of(self)
        loss: Tensor = self.task(
            to_tensor(batch.labels, device),
            self.score(to_tensors(batch.features, device)),
            None if batch.weight is None else to_tensor(batch.weight, device),
        )
        return loss


def check_takes_scores(task: Ranking | None) -> None:
    """Refuse a task whose loss takes probabilities, for a model whose scores are any numbers.

    Raises:
        ValueError: It is such.
    """
    if task is not None and isinstance(task.loss, BinaryCrossentropy) and not task.loss.from_logits:
        raise ValueError(
            "the task takes probabilities, and gets scores here, before the activation: "
            "give Ranking(BinaryCrossentropy(from_logits=True)), or leave it out"
        )
