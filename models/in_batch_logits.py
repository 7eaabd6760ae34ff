"""The scores of a batch's queries for its candidates, with all corrections, before any loss."""

import torch
from torch import Tensor

from torchtowers.models.losses import (
    check_in_batch,
    correct_sampling,
    remove_accidental_hits,
    remove_duplicate_queries,
)

__all__ = ["in_batch_logits"]


def in_batch_logits(
    query_embeddings: Tensor,
    candidate_embeddings: Tensor,
    temperature: float = 1.0,
    candidate_sampling_probability: Tensor | None = None,
    candidate_ids: Tensor | None = None,
    score_mask: Tensor | None = None,
    query_ids: Tensor | None = None,
) -> Tensor:
    """Score all candidates for all queries and correct the scores, in TFRS's order of operations.

    Arguments and errors are those of `in_batch_softmax`; in addition queries may have several heads,
    `[queries, heads, dim]`, of which the largest score counts.

    Returns:
        `[queries, candidates]`; -inf where a candidate is left out.
    """
    if query_embeddings.dim() == 3:
        logits = torch.einsum("qhd,cd->qhc", query_embeddings, candidate_embeddings).amax(1)
    else:
        logits = query_embeddings @ candidate_embeddings.T
    check_in_batch(
        logits.size(0),
        logits.size(1),
        candidate_sampling_probability,
        candidate_ids,
        query_ids,
        score_mask,
    )
    if temperature != 1.0:
        logits = logits / temperature
    if candidate_sampling_probability is not None:
        logits = correct_sampling(logits, candidate_sampling_probability)
    if candidate_ids is not None:
        logits = remove_accidental_hits(logits, candidate_ids)
    if query_ids is not None:
        logits = remove_duplicate_queries(logits, query_ids)
    if score_mask is not None:
        logits = logits.masked_fill(torch.logical_not(score_mask), float("-inf"))
    return logits
