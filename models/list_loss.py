"""A loss over lists as a module, under Keras-RS's name: a function with its temperature and reduction."""

from collections.abc import Callable
from typing import ClassVar

from torch import Tensor, nn

__all__ = ["ListLoss"]


class ListLoss(nn.Module):
    """Base of the classes; each names its `function`, whose shapes and errors are those of its calls.

    Args:
        temperature: Divides the scores; above 0.
        reduction: `none`, `sum` or `mean`.
    """

    function: ClassVar[Callable[..., Tensor]]

    def __init__(self, *, temperature: float = 1.0, reduction: str = "mean") -> None:
        super().__init__()
        self.temperature = temperature
        self.reduction = reduction

    def forward(
        self, scores: Tensor, labels: Tensor, mask: Tensor | None = None, sample_weight: Tensor | None = None
    ) -> Tensor:
        """Compute the loss; shapes as in the function."""
        loss: Tensor = self.function(scores, labels, mask, sample_weight, self.temperature, self.reduction)
        return loss
