"""The retrieval task: each query's own candidate against the others of the batch."""

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from torchtowers.models.in_batch_logits import in_batch_logits
from torchtowers.models.in_batch_softmax import in_batch_softmax
from torchtowers.models.losses import mine_hard_negatives
from torchtowers.models.reduction import reduce

__all__ = ["Retrieval"]

RowLoss = Callable[[Tensor, Tensor], Tensor]


class Retrieval(nn.Module):
    """In-batch softmax as TFRS's `tasks.Retrieval`, in its order of operations.

    Dot products (for several heads a query, the largest over the heads), temperature, sampling correction,
    accidental hits, duplicate queries, score mask, hard negatives, loss, weights, reduction. With its default
    loss and without hard negatives it is `in_batch_softmax`, which needs neither the time nor the memory for
    the whole logits on a CPU.

    Args:
        loss: A module or function that takes logits `[queries, candidates]` and the column of each row's
            positive, int64 `[queries]`, and gives a loss a query, `[queries]`. By default the cross-entropy.
        temperature: Divides the scores, before the sampling correction.
        num_hard_negatives: Of the negatives, only this many with the highest scores are kept; None keeps all.
        remove_accidental_hits: Whether a row's own item, drawn again elsewhere in the batch, is no negative.
        remove_duplicate_queries: Whether the positives of other rows of the same query are no negatives.
        reduction: `sum` over the queries, as in TFRS; `mean`, the sum divided by their number; or `none`.

    Raises:
        ValueError: The temperature is not positive, or `num_hard_negatives` is below 1.
    """

    def __init__(
        self,
        *,
        loss: nn.Module | RowLoss | None = None,
        temperature: float | None = None,
        num_hard_negatives: int | None = None,
        remove_accidental_hits: bool = False,
        remove_duplicate_queries: bool = False,
        reduction: Literal["sum", "mean", "none"] = "sum",
    ) -> None:
        super().__init__()
        if temperature is not None and temperature <= 0:
            raise ValueError(f"the temperature has to be positive, got {temperature}")
        if num_hard_negatives is not None and num_hard_negatives < 1:
            raise ValueError(f"num_hard_negatives has to be at least 1, got {num_hard_negatives}")
        self.loss = loss if loss is None or isinstance(loss, nn.Module) else _Function(loss)
        self.temperature = 1.0 if temperature is None else temperature
        self.num_hard_negatives = num_hard_negatives
        self.remove_accidental_hits = remove_accidental_hits
        self.remove_duplicate_queries = remove_duplicate_queries
        self.reduction: str = reduction

    def forward(
        self,
        query_embeddings: Tensor,
        candidate_embeddings: Tensor,
        sample_weight: Tensor | None = None,
        candidate_sampling_probability: Tensor | None = None,
        candidate_ids: Tensor | None = None,
        score_mask: Tensor | None = None,
        query_ids: Tensor | None = None,
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
            query_ids: int64 `[queries]`; needed to remove duplicate queries.

        Returns:
            A scalar, or `[queries]` without reduction.

        Raises:
            TypeError: Something is no tensor.
            ValueError: There are fewer candidates than queries, a tensor has another shape, accidental hits
                or duplicate queries are to be removed and there are no ids, or the loss gives another shape
                than `[queries]`.

        Example:
            >>> task = Retrieval(temperature=0.5, reduction="mean")
            >>> queries = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
            >>> round(float(task(queries, queries)), 4)
            0.1269
        """
        if not torch.jit.is_scripting():  # type: ignore[attr-defined]
            _check_tensors(
                sample_weight=sample_weight,
                candidate_sampling_probability=candidate_sampling_probability,
                candidate_ids=candidate_ids,
                score_mask=score_mask,
                query_ids=query_ids,
            )
        items: Tensor | None = None
        if self.remove_accidental_hits:
            if candidate_ids is None:
                raise ValueError("removing accidental hits needs candidate_ids")
            items = candidate_ids
        users: Tensor | None = None
        if self.remove_duplicate_queries:
            if query_ids is None:
                raise ValueError("removing duplicate queries needs query_ids")
            users = query_ids
        if self.loss is None and self.num_hard_negatives is None:
            return in_batch_softmax(
                query_embeddings,
                candidate_embeddings,
                score_mask,
                sample_weight,
                self.temperature,
                self.reduction,
                candidate_sampling_probability,
                items,
                users,
            )
        logits = in_batch_logits(
            query_embeddings,
            candidate_embeddings,
            self.temperature,
            candidate_sampling_probability,
            items,
            score_mask,
            users,
        )
        positives = torch.arange(logits.size(0), device=logits.device)
        hard = self.num_hard_negatives
        if hard is not None:
            labels = (positives[:, None] == torch.arange(logits.size(1), device=logits.device)).to(
                torch.int64
            )
            logits, _ = mine_hard_negatives(logits, labels, hard)
            positives = torch.zeros_like(positives)
        if self.loss is None:
            losses = F.cross_entropy(logits, positives, reduction="none")
        else:
            losses = self.loss(logits, positives)
            if losses.dim() != 1 or losses.size(0) != logits.size(0):
                raise ValueError(
                    f"the loss has to give one number a query, [{logits.size(0)}], got {list(losses.shape)}: "
                    "a loss of PyTorch does so with reduction='none'"
                )
        if sample_weight is not None:
            losses = losses * sample_weight.reshape(losses.shape)
        return reduce(losses, self.reduction)


class _Function(nn.Module):
    """A function as a module, since TorchScript can't ask a function whether it is None."""

    def __init__(self, function: RowLoss) -> None:
        super().__init__()
        self.function = function

    def forward(self, logits: Tensor, positives: Tensor) -> Tensor:
        return self.function(logits, positives)


def _check_tensors(**given: Tensor | None) -> None:
    for name, value in given.items():
        if value is not None and not isinstance(value, Tensor):
            ids = "; ids are an int64 tensor: number texts by a vocabulary" if name.endswith("_ids") else ""
            raise TypeError(f"{name} has to be a tensor, got a {type(value).__name__}{ids}")
