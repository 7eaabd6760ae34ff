"""The retrieval task: each query's own candidate against the others of the batch."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from torchtowers.models.losses import correct_sampling, remove_accidental_hits

__all__ = ["Retrieval"]


class Retrieval(nn.Module):
    """In-batch softmax as TFRS's `tasks.Retrieval`: temperature, logQ, accidental hits, in its order.

    Args:
        temperature: Divides the scores, before the sampling correction.
        remove_accidental_hits: Whether a row's own item, drawn again elsewhere in the batch, is no negative.
        reduction: `sum`, as in TFRS, or `mean` over the queries.
    """

    def __init__(
        self,
        *,
        temperature: float | None = None,
        remove_accidental_hits: bool = False,
        reduction: Literal["sum", "mean"] = "sum",
    ) -> None:
        super().__init__()
        self.temperature = temperature
        self.remove_accidental_hits = remove_accidental_hits
        self.reduction = reduction

    def forward(
        self,
        query_embeddings: Tensor,
        candidate_embeddings: Tensor,
        *,
        candidate_sampling_probability: Tensor | None = None,
        candidate_ids: Tensor | None = None,
    ) -> Tensor:
        """Compute the loss.

        Args:
            query_embeddings: `[queries, dim]`.
            candidate_embeddings: `[candidates, dim]`; row i is the positive of query i, further rows are
                negatives of all.
            candidate_sampling_probability: `[candidates]`; corrects for popular items being drawn more often.
            candidate_ids: int64 `[candidates]`; needed to remove accidental hits.

        Returns:
            A scalar.

        Raises:
            ValueError: Accidental hits are to be removed and there are no ids.

        Example:
            >>> task = Retrieval(temperature=0.5, reduction="mean")
            >>> queries = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
            >>> round(float(task(queries, queries)), 4)
            0.1269
        """
        logits = query_embeddings @ candidate_embeddings.T
        if self.temperature is not None:
            logits = logits / self.temperature
        if candidate_sampling_probability is not None:
            logits = correct_sampling(logits, candidate_sampling_probability)
        if self.remove_accidental_hits:
            if candidate_ids is None:
                raise ValueError("removing accidental hits needs candidate_ids")
            logits = remove_accidental_hits(logits, candidate_ids)
        positives = torch.arange(logits.size(0), device=logits.device)
        return F.cross_entropy(logits, positives, reduction=self.reduction)
