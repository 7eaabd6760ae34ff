"""Dot products of every pair of features."""

import torch
from torch import Tensor, nn

__all__ = ["DotInteraction"]


class DotInteraction(nn.Module):
    """Multiplies each feature with each one before it, as DLRM does.

    TFRS's and Keras-RS's `DotInteraction`; section 2.1.3 of https://arxiv.org/abs/1906.00091.

    Args:
        self_interaction: Whether each feature is multiplied with itself as well.
        skip_gather: Whether the other pairs stay in the output, as zeros.
    """

    def __init__(self, *, self_interaction: bool = False, skip_gather: bool = False) -> None:
        super().__init__()
        # Of the highest diagonal that counts.
        self.diagonal = 0 if self_interaction else -1
        self.skip_gather = skip_gather

    def forward(self, features: list[Tensor]) -> Tensor:
        """Multiply every pair.

        Args:
            features: At least one, each `[batch, dim]`.

        Returns:
            The lower triangle of the matrix of products, row by row: `f2·f1, f3·f1, f3·f2, …`, with
            `self_interaction` `f1·f1, f2·f1, f2·f2, …`. For n features `[batch, n * (n - 1) / 2]`, with
            `self_interaction` `[batch, n * (n + 1) / 2]`, with `skip_gather` `[batch, n * n]`.

        Raises:
            ValueError: There is no feature, or they differ in shape.

        Example:
            >>> user, item, hour = torch.tensor([[[1.0, 2.0]], [[3.0, 0.0]], [[0.0, 1.0]]])
            >>> DotInteraction()([user, item, hour])
            tensor([[3., 2., 0.]])
        """
        _check(features)
        stacked = torch.stack(features, dim=1)
        products = torch.bmm(stacked, stacked.transpose(1, 2))
        if self.skip_gather:
            return torch.tril(products, self.diagonal).flatten(1)
        count = len(features)
        rows, columns = torch.tril_indices(count, count, self.diagonal, device=products.device).unbind(0)
        # Several times faster backwards than indexing with rows and columns.
        places = (rows * count + columns).unsqueeze(0).expand(products.size(0), -1)
        return torch.gather(products.flatten(1), 1, places)


def _check(features: list[Tensor]) -> None:
    if len(features) == 0:
        raise ValueError("got no features to multiply: give at least one [batch, dim]")
    for position, feature in enumerate(features):
        if feature.dim() != 2 or feature.shape != features[0].shape:
            raise ValueError(
                "features must all be [batch, dim] of one shape: "
                f"the first is {list(features[0].shape)}, number {position + 1} is {list(feature.shape)}"
            )
