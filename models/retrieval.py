"""The retrieval task: each query's own candidate against the others of the batch."""

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from torchtowers.models.losses import correct_sampling, mine_hard_negatives, remove_accidental_hits
from torchtowers.models.reduction import reduce

__all__ = ["Retrieval"]

RowLoss = Callable[[Tensor, Tensor], Tensor]


class Retrieval(nn.Module):
    """In-batch softmax as TFRS's `tasks.Retrieval`, in its order of operations.

    Dot products (for several heads a query, the largest over the heads), temperature, sampling correction,
    accidental hits, score mask, hard negatives, loss, weights, reduction.

    Args:
        loss: Takes logits `[queries, candidates]` and the column of each row's positive, int64 `[queries]`,
            and gives a loss a query, `[queries]`. By default the cross-entropy.
        temperature: Divides the scores, before the sampling correction.
        num_hard_negatives: Of the negatives, only this many with the highest scores are kept; None keeps all.
        remove_accidental_hits: Whether a row's own item, drawn again elsewhere in the batch, is no negative.
        reduction: `sum` over the queries, as in TFRS; `mean`, the sum divided by their number; or `none`.

    Raises:
        ValueError: The temperature is not positive, or `num_hard_negatives` is below 1.
    """

    def __init__(
        self,
        *,
        loss: RowLoss | None = None,
        temperature: float | None = None,
        num_hard_negatives: int | None = None,
        remove_accidental_hits: bool = False,
        reduction: Literal["sum", "mean", "none"] = "sum",
    ) -> None:
        super().__init__()
        if temperature is not None and temperature <= 0:
            raise ValueError(f"the temperature has to be positive, got {temperature}")
        if num_hard_negatives is not None and num_hard_negatives < 1:
            raise ValueError(f"num_hard_negatives has to be at least 1, got {num_hard_negatives}")
        self.loss = loss or _cross_entropy
        self.temperature = temperature
        self.num_hard_negatives = num_hard_negatives
        self.remove_accidental_hits = remove_accidental_hits
        self.reduction = reduction

    def forward(
        self,
        query_embeddings: Tensor,
        candidate_embeddings: Tensor,
        *,
        sample_weight: Tensor | None = None,
        candidate_sampling_probability: Tensor | None = None,
        candidate_ids: Tensor | None = None,
        score_mask: Tensor | None = None,
    ) -> Tensor:
        """Compute the loss.

        Args:
            query_embeddings: `[queries, dim]`, or `[queries, heads, dim]`.
            candidate_embeddings: `[candidates, dim]`; row i is the positive of query i, further rows are
                negatives of all.
            sample_weight: `[queries]` or `[queries, 1]`.
            candidate_sampling_probability: `[candidates]`; corrects for popular items being drawn more often.
            candidate_ids: int64 `[candidates]`; needed to remove accidental hits.
            score_mask: bool `[queries, candidates]`; False leaves a candidate out. A positive has to be in.

        Returns:
            A scalar, or `[queries]` without reduction.

        Raises:
            ValueError: There are fewer candidates than queries, or accidental hits are to be removed and
                there are no ids.

        Example:
            >>> task = Retrieval(temperature=0.5, reduction="mean")
            >>> queries = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
            >>> round(float(task(queries, queries)), 4)
            0.1269
        """
        logits = _scores(query_embeddings, candidate_embeddings)
        if logits.size(0) > logits.size(1):
            raise ValueError(f"candidates ({logits.size(1)}) fewer than queries ({logits.size(0)})")
        if self.temperature is not None:
            logits = logits / self.temperature
        if candidate_sampling_probability is not None:
            logits = correct_sampling(logits, candidate_sampling_probability)
        if self.remove_accidental_hits:
            if candidate_ids is None:
                raise ValueError("removing accidental hits needs candidate_ids")
            logits = remove_accidental_hits(logits, candidate_ids)
        if score_mask is not None:
            logits = logits.masked_fill(~score_mask, float("-inf"))
        positives = torch.arange(logits.size(0), device=logits.device)
        if self.num_hard_negatives is not None:
            labels = F.one_hot(positives, logits.size(1))
            logits, _ = mine_hard_negatives(logits, labels, self.num_hard_negatives)
            positives = torch.zeros_like(positives)
        losses = self.loss(logits, positives)
        if sample_weight is not None:
            losses = losses * sample_weight.reshape(losses.shape)
        return reduce(losses, self.reduction)


def _scores(queries: Tensor, candidates: Tensor) -> Tensor:
    if queries.dim() == 3:
        return torch.einsum("qhd,cd->qhc", queries, candidates).amax(1)
    return queries @ candidates.T


def _cross_entropy(logits: Tensor, positives: Tensor) -> Tensor:
    return F.cross_entropy(logits, positives, reduction="none")
