"""Corrections of in-batch logits, as pure functions on `[queries, candidates]`.

Sources: TFRS `layers/loss.py`; logQ: Bengio & Senécal 2008, Yi et al. 2019.
"""

import torch
from torch import Tensor

__all__ = ["correct_sampling", "mine_hard_negatives", "remove_accidental_hits"]


def correct_sampling(logits: Tensor, probability: Tensor) -> Tensor:
    """Subtract the log of each candidate's sampling probability, clipped to [1e-6, 1] (logQ correction).

    Args:
        logits: `[queries, candidates]`, or any shape with a probability for each logit.
        probability: `[candidates]`, or the shape of the logits.
    """
    return logits - torch.log(probability.clamp(1e-6, 1.0))


def remove_accidental_hits(logits: Tensor, candidate_ids: Tensor) -> Tensor:
    """Set to -inf the candidates that are the same item as a row's positive, without being it.

    Args:
        logits: `[queries, candidates]`; the positive of row i is column i.
        candidate_ids: int64 `[candidates]`.
    """
    queries = logits.size(0)
    same = candidate_ids[:queries, None] == candidate_ids[None, :]
    same.fill_diagonal_(False)
    return logits.masked_fill(same, float("-inf"))


def mine_hard_negatives(logits: Tensor, labels: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Keep each row's positive and the `count` negatives with the highest logits (TFRS `HardNegativeMining`).

    Args:
        logits: `[queries, candidates]`.
        labels: The same shape; 1 for a row's positive, 0 for negatives.
        count: Of negatives; all are kept where there are fewer.

    Returns:
        Logits and labels, `[queries, min(count + 1, candidates)]`; the positive stands first, then the
        negatives by falling logit.

    Raises:
        ValueError: `count` is below 1: no negative, and a loss of 0, is nobody's wish.
    """
    if count < 1:
        raise ValueError(f"the number of hard negatives has to be at least 1, got {count}")
    width = min(count + 1, logits.size(1))
    first = logits.masked_fill(labels > 0, float("inf"))
    columns = torch.topk(first, width, dim=1).indices
    return logits.gather(1, columns), labels.gather(1, columns)
