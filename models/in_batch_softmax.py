"""The in-batch softmax: cross-entropy of each query's own candidate against all candidates of the batch."""

import torch
import torch.nn.functional as F
from torch import Tensor

from torchtowers.models.blocked_softmax import blocked_softmax, runs_in_blocks
from torchtowers.models.in_batch_logits import in_batch_logits
from torchtowers.models.reduction import reduce

__all__ = ["in_batch_softmax"]


def in_batch_softmax(
    query_embeddings: Tensor,
    candidate_embeddings: Tensor,
    score_mask: Tensor | None = None,
    sample_weight: Tensor | None = None,
    temperature: float = 1.0,
    reduction: str = "mean",
    candidate_sampling_probability: Tensor | None = None,
    candidate_ids: Tensor | None = None,
    query_ids: Tensor | None = None,
) -> Tensor:
    """Compute the cross-entropy of each query's own candidate against all others.

    On a CPU, in single or double precision and with `sum` or `mean`, the logits are never held as a whole.

    Args:
        query_embeddings: `[queries, dim]`, or `[queries, heads, dim]`.
        candidate_embeddings: `[candidates, dim]`; row i is the positive of query i, further rows are
            negatives of all.
        score_mask: bool `[queries, candidates]`; False leaves a candidate out. A positive has to be in.
        sample_weight: `[queries]` or `[queries, 1]`.
        temperature: Divides the scores; above 0.
        reduction: `none`, `sum` or `mean` over the queries, which divides by their number.
        candidate_sampling_probability: `[candidates]`; its log is subtracted from the scores (logQ).
        candidate_ids: int64 `[candidates]`; where given, a candidate that is the same item as a row's
            positive is no negative of the row.
        query_ids: int64 `[queries]`; where given, the positives of other rows of the same query are no
            negatives of a row.

    Returns:
        A scalar; `[queries]` for `none`.

    Raises:
        ValueError: Fewer candidates than queries, ids that don't match them, a temperature of 0 or less, an
            unknown reduction.

    Example:
        >>> queries = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
        >>> round(float(in_batch_softmax(queries, queries, temperature=0.5)), 4)
        0.1269
    """
    if not temperature > 0:
        raise ValueError(f"temperature is {temperature}; give a number above 0")
    if not torch.jit.is_scripting():  # type: ignore[attr-defined]
        tensors = (query_embeddings, candidate_embeddings, candidate_sampling_probability, sample_weight)
        if reduction in ("sum", "mean") and runs_in_blocks(*tensors):
            total = blocked_softmax(
                query_embeddings,
                candidate_embeddings,
                score_mask,
                sample_weight,
                temperature,
                candidate_sampling_probability,
                candidate_ids,
                query_ids,
            )
            return total if reduction == "sum" else total / max(query_embeddings.size(0), 1)
    logits = in_batch_logits(
        query_embeddings,
        candidate_embeddings,
        temperature,
        candidate_sampling_probability,
        candidate_ids,
        score_mask,
        query_ids,
    )
    positives = torch.arange(logits.size(0), device=logits.device)
    losses = F.cross_entropy(logits, positives, reduction="none")
    if sample_weight is not None:
        losses = losses * sample_weight.reshape(losses.shape)
    return reduce(losses, reduction)
