"""Corrections of in-batch logits, as pure functions on `[queries, candidates]`.

Sources: TFRS `layers/loss.py`; logQ: Bengio & Senécal 2008, Yi et al. 2019.
"""

import torch
from torch import Tensor

__all__ = ["correct_sampling", "remove_accidental_hits"]


def correct_sampling(logits: Tensor, probability: Tensor) -> Tensor:
    """Subtract the log of each candidate's sampling probability, clipped to [1e-6, 1] (logQ correction).

    Args:
        logits: `[queries, candidates]`.
        probability: `[candidates]`.
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
