"""The ranking task: predictions of ratings or clicks against what users did."""

from torch import Tensor, nn

from torchtowers.models.pointwise_losses import BinaryCrossentropy

__all__ = ["Ranking"]


class Ranking(nn.Module):
    """The loss of a ranking model, as TFRS's `tasks.Ranking`.

    Args:
        loss: A module called with predictions, labels and, by keyword, `sample_weight`; it reduces by itself.
            All pointwise, pairwise and listwise losses here are such. Binary cross-entropy of probabilities,
            averaged over the batch, if not given.
    """

    def __init__(self, loss: nn.Module | None = None) -> None:
        super().__init__()
        self.loss = BinaryCrossentropy() if loss is None else loss

    def forward(self, labels: Tensor, predictions: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        """Compute the loss; labels come first, as in TFRS.

        Args:
            labels: `[batch]` or `[batch, 1]`; `[batch, list]` for a loss over lists.
            predictions: The same shape.
            sample_weight: `[batch]` or `[batch, 1]`, whichever shape the predictions have (TFRS fails with
                `[batch]`), or what else the loss takes. A mean divides by the number of examples, not by the
                sum of the weights.

        Returns:
            A scalar, or what the loss gives without reduction.

        Raises:
            ValueError: Shapes that do not match.

        Example:
            >>> import torch
            >>> task = Ranking()
            >>> round(float(task(labels=torch.ones(2), predictions=torch.tensor([1.0, 0.3]))), 4)
            0.602
        """
        loss: Tensor = self.loss(predictions, labels, sample_weight=sample_weight)
        return loss
