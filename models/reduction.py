"""From one loss an example to what is returned: all of them, their sum or their mean."""

from torch import Tensor

__all__ = ["reduce"]


def reduce(values: Tensor, reduction: str) -> Tensor:
    """Reduce losses as Keras does; `mean` is its `sum_over_batch_size`, and 0 where there are no losses.

    Args:
        values: Losses of any shape, weights already in them; the mean divides by their number, not by the
            sum of their weights.
        reduction: `none`, `sum` or `mean`.

    Returns:
        The losses themselves for `none`, otherwise a scalar.

    Raises:
        ValueError: The reduction is none of the three.

    Example:
        >>> import torch
        >>> float(reduce(torch.tensor([1.0, 3.0]), "mean"))
        2.0
    """
    if reduction == "none":
        return values
    if reduction == "sum":
        return values.sum()
    if reduction == "mean":
        return values.sum() / max(values.numel(), 1)
    raise ValueError(f'reduction is "{reduction}"; use "none", "sum" or "mean"')
