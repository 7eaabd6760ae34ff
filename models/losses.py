"""Corrections of in-batch logits, as pure functions on `[queries, candidates]`.

Sources: TFRS `layers/loss.py`; logQ: Bengio & Senécal 2008, Yi et al. 2019.
"""

import torch
from torch import Tensor

__all__ = [
    "check_in_batch",
    "correct_sampling",
    "mine_hard_negatives",
    "remove_accidental_hits",
    "remove_duplicate_queries",
]


def check_in_batch(
    queries: int,
    candidates: int,
    probability: Tensor | None = None,
    candidate_ids: Tensor | None = None,
    query_ids: Tensor | None = None,
    score_mask: Tensor | None = None,
) -> None:
    """Refuse what doesn't fit a number of queries and of candidates, and would spread over them unnoticed.

    Raises:
        ValueError: There are fewer candidates than queries, or a tensor has another shape.
    """
    if queries > candidates:
        raise ValueError(f"candidates ({candidates}) fewer than queries ({queries})")
    _check_shape("candidate_sampling_probability", probability, [candidates])
    _check_shape("candidate_ids", candidate_ids, [candidates])
    _check_shape("query_ids", query_ids, [queries])
    _check_shape("score_mask", score_mask, [queries, candidates])


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

    Raises:
        ValueError: There is not an id for each candidate.

    Example:
        >>> remove_accidental_hits(torch.zeros(2, 3), torch.tensor([7, 8, 7])).tolist()
        [[0.0, 0.0, -inf], [0.0, 0.0, 0.0]]
    """
    check_in_batch(logits.size(0), logits.size(1), candidate_ids=candidate_ids)
    return _remove_equal(logits, candidate_ids[: logits.size(0)], candidate_ids)


def remove_duplicate_queries(logits: Tensor, query_ids: Tensor) -> Tensor:
    """Set to -inf the positives of the other rows that are of the same query.

    Where a user comes twice in a batch, neither of the two chosen items is a negative for this user. Further
    candidates, past the positives, are kept.

    Args:
        logits: `[queries, candidates]`; the positive of row i is column i.
        query_ids: int64 `[queries]`.

    Raises:
        ValueError: There is not an id for each query.

    Example:
        >>> remove_duplicate_queries(torch.zeros(3, 3), torch.tensor([5, 6, 5])).tolist()
        [[0.0, 0.0, -inf], [0.0, 0.0, 0.0], [-inf, 0.0, 0.0]]
    """
    check_in_batch(logits.size(0), logits.size(1), query_ids=query_ids)
    queries = logits.size(0)
    positives = _remove_equal(logits[:, :queries], query_ids, query_ids)
    return torch.cat([positives, logits[:, queries:]], dim=1)


def mine_hard_negatives(logits: Tensor, labels: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Keep each row's positive and the `count` negatives with the highest logits (TFRS `HardNegativeMining`).

    Args:
        logits: `[queries, candidates]`, or `[..., candidates]` of any rank, as Keras-RS takes them.
        labels: The same shape; 1 for a row's positive, 0 for negatives.
        count: Of negatives; all are kept where there are fewer.

    Returns:
        Logits and labels, `[..., min(count + 1, candidates)]`; the positive stands first, then the
        negatives by falling logit.

    Raises:
        ValueError: `count` is below 1: no negative, and a loss of 0, is nobody's wish.
    """
    if count < 1:
        raise ValueError(f"the number of hard negatives has to be at least 1, got {count}")
    first = logits.masked_fill(labels > 0, float("inf"))
    if torch.jit.is_scripting():  # type: ignore[attr-defined]
        width = min(count + 1, logits.size(-1))
    else:
        # `min` would fix an export to the width of its example.
        width = torch.sym_min(count + 1, logits.size(-1))  # type: ignore[no-untyped-call]
    columns = torch.topk(first, width, dim=-1).indices
    return logits.gather(-1, columns), labels.gather(-1, columns)


def _remove_equal(logits: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Set to -inf, off the diagonal, the logits whose row and column have equal ids."""
    numbers = torch.arange(logits.size(1), device=logits.device)
    own = numbers[: logits.size(0), None] == numbers[None, :]
    same = torch.logical_and(rows[:, None] == columns[None, :], torch.logical_not(own))
    return logits.masked_fill(same, float("-inf"))


def _check_shape(name: str, values: Tensor | None, shape: list[int]) -> None:
    if values is not None and list(values.shape) != shape:
        raise ValueError(f"{name} has shape {list(values.shape)}; queries and candidates need {shape}")
