"""Lists of items to rank: scores and labels brought to `[batch, list]`, and which of the items count."""

import torch
from torch import Tensor

__all__ = ["as_lists", "item_weights"]


def as_lists(scores: Tensor, labels: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Bring scores and labels to one shape and one type, and say which items count.

    An item counts where its label is at least 0 and the mask, if there is one, is true. The score and the
    label of an item that does not count become 0, so that not even NaN there reaches a loss or a gradient.

    Args:
        scores: `[batch, list]` or `[list]`.
        labels: The same shape; any type of number.
        mask: Bool, the same shape.

    Returns:
        Scores, labels (in the type of the scores) and, as bool, which items count: `[batch, list]` each.

    Raises:
        ValueError: The shapes differ, or have other than one or two dimensions.

    Example:
        >>> _, _, counts = as_lists(torch.tensor([0.3, 0.1]), torch.tensor([1, -1]))
        >>> counts.tolist()
        [[True, False]]
    """
    if scores.dim() != 1 and scores.dim() != 2:
        raise ValueError(f"scores have shape {list(scores.shape)}; give [batch, list] or [list]")
    if labels.shape != scores.shape:
        raise ValueError(f"labels {list(labels.shape)} and scores {list(scores.shape)} need the same shape")
    counts = labels >= 0
    if mask is not None:
        if mask.shape != scores.shape:
            raise ValueError(f"mask {list(mask.shape)} and scores {list(scores.shape)} need the same shape")
        counts = torch.logical_and(counts, mask)
    ignored = torch.logical_not(counts)
    scores = scores.masked_fill(ignored, 0.0)
    labels = labels.to(scores.dtype).masked_fill(ignored, 0.0)
    if scores.dim() == 1:
        return scores.unsqueeze(0), labels.unsqueeze(0), counts.unsqueeze(0)
    return scores, labels, counts


def item_weights(sample_weight: Tensor, scores: Tensor) -> Tensor:
    """Spread weights over the items.

    Args:
        sample_weight: A scalar, one weight a list (`[batch]` or `[batch, 1]`) or one an item, in the shape of
            the scores.
        scores: As they were given, `[batch, list]` or `[list]`.

    Returns:
        `[batch, list]`, in the type of the scores.

    Raises:
        ValueError: The weights have another shape.

    Example:
        >>> item_weights(torch.tensor([2.0, 1.0]), torch.zeros(2, 3)).tolist()
        [[2.0, 2.0, 2.0], [1.0, 1.0, 1.0]]
    """
    lists = scores if scores.dim() == 2 else scores.unsqueeze(0)
    weights = sample_weight.to(scores.dtype)
    if weights.dim() == 0 or weights.shape == lists.shape or list(weights.shape) == [lists.size(0), 1]:
        return weights.expand_as(lists)
    if scores.dim() == 1 and weights.shape == scores.shape:
        return weights.unsqueeze(0)
    if scores.dim() == 2 and weights.dim() == 1 and weights.size(0) == scores.size(0):
        return weights.unsqueeze(1).expand_as(lists)
    raise ValueError(
        f"sample_weight has shape {list(weights.shape)}, scores have {list(scores.shape)}; "
        "give a scalar, one weight a list or one an item"
    )
