"""Cross-batch negatives: the candidates of the last batches as further negatives of this one."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

__all__ = ["CrossBatchMemory", "Extended"]


class Extended(NamedTuple):
    """A batch's candidates and, after them, remembered ones; named as the arguments of `Retrieval`.

    Attributes:
        candidate_embeddings: `[candidates + remembered, dim]`; only those of the batch have gradients.
        candidate_ids: int64, likewise.
        candidate_sampling_probability: Likewise; None where the batch has none.
    """

    candidate_embeddings: Tensor
    candidate_ids: Tensor
    candidate_sampling_probability: Tensor | None


class CrossBatchMemory(nn.Module):
    """A queue of past candidates, which cost no second pass through the tower (Wang et al. 2021).

    Embeddings change little from step to step once training has settled; until then the memory only fills.
    It is a module for its buffers, so that a checkpoint holds the queue. In evaluation it neither adds nor
    remembers anything.

    Args:
        size: Candidates that are remembered; older ones make way.
        dim: Of the embeddings.
        warm_up: Batches before the memory is used.

    Raises:
        ValueError: A size or dimension below 1, a negative warm-up.

    Example:
        >>> from torchtowers.models.retrieval import Retrieval
        >>> memory, task = CrossBatchMemory(1000, 8), Retrieval(remove_accidental_hits=True)
        >>> for step in range(3):
        ...     extended = memory(torch.randn(4, 8), torch.arange(4) + step)
        ...     loss = task(torch.randn(4, 8), **extended._asdict())
        >>> extended.candidate_ids.tolist()
        [2, 3, 4, 5, 0, 1, 2, 3, 1, 2, 3, 4]
    """

    embeddings: Tensor
    ids: Tensor
    probability: Tensor
    seen: Tensor
    batches: Tensor

    def __init__(self, size: int, dim: int, *, warm_up: int = 0) -> None:
        super().__init__()
        if size < 1 or dim < 1:
            raise ValueError(f"size and dim have to be at least 1, got {size} and {dim}")
        if warm_up < 0:
            raise ValueError(f"warm_up can't be negative, got {warm_up}")
        self.size = size
        self.warm_up = warm_up
        self.register_buffer("embeddings", torch.zeros(size, dim))
        self.register_buffer("ids", torch.zeros(size, dtype=torch.int64))
        # Not a number where a candidate came without one.
        self.register_buffer("probability", torch.full((size,), torch.nan))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))
        self.register_buffer("batches", torch.zeros((), dtype=torch.int64))

    def forward(
        self,
        candidate_embeddings: Tensor,
        candidate_ids: Tensor,
        candidate_sampling_probability: Tensor | None = None,
    ) -> Extended:
        """Add what is remembered to a batch's candidates, then remember the batch's.

        Args:
            candidate_embeddings: `[candidates, dim]`.
            candidate_ids: int64 `[candidates]`; with `remove_accidental_hits` of `Retrieval`, a row's own
                item in the memory is no negative.
            candidate_sampling_probability: `[candidates]`; given with each batch or with none.

        Raises:
            ValueError: Shapes that do not match, or probabilities that are given after batches without them,
                or the other way round.
        """
        count = candidate_embeddings.size(0)
        given = (candidate_ids, candidate_sampling_probability)
        shapes = [list(values.shape) for values in given if values is not None]
        if candidate_embeddings.shape[1:] != self.embeddings.shape[1:] or any(s != [count] for s in shapes):
            raise ValueError(
                f"embeddings {list(candidate_embeddings.shape)} with ids and probabilities {shapes}; "
                f"give [candidates, {self.embeddings.size(1)}] and [candidates] for each"
            )
        batch = Extended(candidate_embeddings, candidate_ids, candidate_sampling_probability)
        if not self.training:
            return batch
        self._check_probability(candidate_sampling_probability)
        # A copy, since the batch overwrites the queue before backward reads it.
        extended = self._extend(batch) if int(self.batches) >= self.warm_up else batch
        self._remember(batch)
        return extended

    def _check_probability(self, given: Tensor | None) -> None:
        # All that are remembered are alike.
        if int(self.seen) and bool(self.probability[0].isnan()) != (given is None):
            now, before = ("without", "with") if given is None else ("with", "without")
            raise ValueError(
                f"a batch {now} candidate_sampling_probability follows batches {before} them: "
                "give them with each batch or with none, or start with a new memory"
            )

    def _extend(self, batch: Extended) -> Extended:
        filled = min(int(self.seen), self.size)
        embeddings, ids, probability = batch
        if probability is not None:
            probability = torch.cat([probability, self.probability[:filled].to(probability.dtype)])
        return Extended(
            torch.cat([embeddings, self.embeddings[:filled].to(embeddings.dtype)]),
            torch.cat([ids, self.ids[:filled]]),
            probability,
        )

    @torch.no_grad()
    def _remember(self, batch: Extended) -> None:
        count = batch.candidate_ids.size(0)
        kept = min(count, self.size)
        places = (self.seen + torch.arange(count - kept, count, device=self.ids.device)) % self.size
        self.embeddings[places] = batch.candidate_embeddings[-kept:].to(self.embeddings.dtype)
        self.ids[places] = batch.candidate_ids[-kept:]
        if batch.candidate_sampling_probability is not None:
            self.probability[places] = batch.candidate_sampling_probability[-kept:].to(self.probability.dtype)
        self.seen += count
        self.batches += 1
