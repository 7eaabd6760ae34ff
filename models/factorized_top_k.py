"""How often a query's own candidate is among the best k of all; TFRS's `metrics.FactorizedTopK`."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric

from torchtowers.models.brute_force import BruteForce
from torchtowers.models.index import ExactIndex, Ids, Index, id_array
from torchtowers.models.places import NOWHERE, SCORES_AT_ONCE, check_found, check_ks, count, places_found
from torchtowers.models.streaming import CandidateBatches, check_batches, read_batches

__all__ = ["FactorizedTopK"]


class FactorizedTopK(Metric):
    """Top-k accuracy against all candidates, for several ks in one pass.

    By score, a query hits if fewer than k candidates score above its own candidate, which need not be in the
    index. Scores that float rounding can't tell apart are ties, so that a candidate never loses to its own
    copy. By id, it hits if its candidate's id is among the first k found; equal scores come in the index's
    order. In both, a score that is not finite never hits. Results of several ranks are summed.

    `to` moves the counts and no index, which is yours and may serve others too. A `BruteForce` may lie on
    another device than the queries: by score its candidates go to them at each update, by id they go to it.
    So for many updates give `index.to(device)`.

    Args:
        candidates: An index; embeddings `[candidates, dim]`, for `BruteForce` of them; or batches of
            embeddings or of (ids, embeddings) as for `Streaming`. Batches are read once for each evaluation,
            at its first update after `reset`, and kept in memory until then; for candidates larger than
            memory give a `Streaming`, which is read at each update. Rows without ids are named by their
            numbers.
        ks: How many candidates count as found, in any order.
        ties: `optimistic` counts a tie as a hit by score, as TFRS does. `pessimistic` counts it as a miss, by
            score and by id: a hit needs at most k candidates that score as high as the query's own, itself
            included.
        kwargs: Those of `torchmetrics.Metric`.

    Raises:
        ValueError: There is no k, one is below 1 or given twice, `ties` is neither, or the embeddings are no
            matrix.
        TypeError: The batches can be read only once.

    Example:
        >>> metric = FactorizedTopK(torch.tensor([[1.0], [2.0], [3.0]]), ks=(1, 2))
        >>> metric.update(torch.tensor([[1.0], [1.0]]), torch.tensor([[3.0], [2.0]]))
        >>> {name: float(value) for name, value in metric.compute().items()}
        {'top_1_accuracy': 0.5, 'top_2_accuracy': 1.0}
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    hits: Tensor
    weight: Tensor

    def __init__(
        self,
        candidates: Index | Tensor | CandidateBatches,
        ks: Sequence[int] = (1, 5, 10, 50, 100),
        *,
        ties: Literal["optimistic", "pessimistic"] = "optimistic",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_ks(ks)
        if ties not in ("optimistic", "pessimistic"):
            raise ValueError(f"ties have to be optimistic or pessimistic, got {ties!r}")
        if isinstance(candidates, Tensor):
            candidates = BruteForce(candidates)
        elif not isinstance(candidates, Index):
            check_batches(candidates)
        self.candidates = candidates
        self.ks = tuple(ks)
        self.ties = ties
        self._embedded: BruteForce | None = None
        self._inside_forward = False
        self.add_state("hits", torch.zeros(len(ks), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("weight", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def update(
        self,
        query_embeddings: Tensor,
        true_candidate_embeddings: Tensor | None = None,
        true_candidate_ids: Ids | None = None,
        sample_weight: Tensor | None = None,
    ) -> None:
        """Count the hits of a batch, by id if ids are given.

        Args:
            query_embeddings: `[queries, dim]`.
            true_candidate_embeddings: `[queries, dim]`, each query's own candidate; not used by id.
            true_candidate_ids: `[queries]`, as the index has them.
            sample_weight: `[queries]` or `[queries, 1]`.

        Raises:
            TypeError: Ids are of another type than all of the candidates'.
            ValueError: Shapes don't fit, or the count by score meets an index that is not exact.
        """
        queries = len(query_embeddings)
        if true_candidate_ids is not None:
            ranks = self._ranks_by_id(query_embeddings, true_candidate_ids)
        elif true_candidate_embeddings is not None:
            ranks = self._ranks_by_score(query_embeddings, true_candidate_embeddings)
        else:
            raise ValueError("give true_candidate_embeddings or true_candidate_ids")
        weight = torch.ones(queries) if sample_weight is None else sample_weight
        if weight.shape not in ((queries,), (queries, 1)):
            raise ValueError(f"sample_weight has to be [{queries}], got {list(weight.shape)}")
        weight = weight.reshape(-1).to(self.weight)
        found = ranks[:, None] < torch.tensor(self.ks, device=ranks.device)
        self.hits += weight @ found.to(self.hits)
        self.weight += weight.sum()

    def compute(self) -> dict[str, Tensor]:
        """Give `top_{k}_accuracy` for each k, 0 as long as nothing was counted."""
        means = torch.where(self.weight == 0, 0.0, self.hits / self.weight).float()
        return {f"top_{k}_accuracy": mean for k, mean in zip(self.ks, means, strict=True)}

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Update, and give the figures of this batch alone."""
        # torchmetrics resets its states in between, which is no new evaluation.
        self._inside_forward = True
        try:
            return super().forward(*args, **kwargs)
        finally:
            self._inside_forward = False

    def reset(self) -> None:
        """Begin a new evaluation: candidates given as batches are read again."""
        super().reset()
        if not self._inside_forward:
            self._embedded = None

    @property
    def index(self) -> Index:
        """The index that is searched; reads the candidates if they are batches that were not read yet."""
        if isinstance(self.candidates, Index):
            return self.candidates
        if self._embedded is None:
            with torch.no_grad():
                parts = list(read_batches(self.candidates))
            if not parts:
                raise ValueError("the batches hold no candidates")
            ids, embeddings = zip(*parts, strict=True)
            self._embedded = BruteForce(torch.cat(embeddings), np.concatenate(ids))
        return self._embedded

    def _ranks_by_score(self, queries: Tensor, own: Tensor) -> Tensor:
        """Give how many candidates come before each query's own; int64 `[queries]`."""
        index = self.index
        if not isinstance(index, ExactIndex) or not index.is_exact:
            raise ValueError(
                f"{type(index).__name__} is not exact, so that scores may be missing: give true_candidate_ids"
            )
        if own.shape != queries.shape:
            raise ValueError(f"queries are {list(queries.shape)} and their candidates {list(own.shape)}")
        # Half precision would make ties of scores that differ.
        dtype = torch.promote_types(queries.dtype, torch.float32)
        queries, own = queries.to(dtype), own.to(dtype)
        scores, rounding = _own_scores(queries, own)
        above = torch.zeros(len(queries), dtype=torch.int64, device=queries.device)
        tied = torch.zeros_like(above)
        upper, lower = (scores + rounding)[:, None], (scores - rounding)[:, None]
        with torch.no_grad():
            for _, block in index.blocks():
                embeddings = block.to(queries)
                reached = _count(torch.le, queries, embeddings, upper)
                # So that a score that is no number counts against the query.
                above += len(embeddings) - reached
                if self.ties == "pessimistic":
                    tied += reached - _count(torch.lt, queries, embeddings, lower)
        # One of the tied is taken to be the query's own.
        ranks = above + (tied - 1).clamp(min=0)
        return ranks.masked_fill(~scores.isfinite(), NOWHERE)

    def _ranks_by_id(self, queries: Tensor, ids: Ids) -> Tensor:
        """Give each query's own place among all, or at least a number past all ks; int64 `[queries]`."""
        index = self.index
        if isinstance(index, BruteForce) and index.has_unique_ids:
            place, last = index.places(queries.to(index.candidates.device), ids)
            return torch.where(place < len(index), last if self.ties == "pessimistic" else place, NOWHERE)
        own = id_array(ids)
        if len(own) != len(queries):
            raise ValueError(f"there are {len(queries)} queries and {len(own)} ids of their candidates")
        # One more than needed, to see whether a tie goes on behind the last.
        found = index.search(queries, max(self.ks) + 1)
        check_found(index, queries, found, own)
        ranks = places_found(found, np.arange(len(queries)), own)
        if self.ties == "pessimistic":
            score = found.scores.gather(1, ranks.clamp(max=found.scores.size(1) - 1)[:, None])
            ranks = torch.maximum(ranks, (found.scores >= score).sum(1) - 1)
        return ranks


def _count(compare: Callable[..., Tensor], queries: Tensor, candidates: Tensor, border: Tensor) -> Tensor:
    """Count the candidates whose score compares so with the query's border `[queries, 1]`; `[queries]`."""
    counts = torch.empty(len(queries), dtype=torch.int64, device=queries.device)
    step = max(1, SCORES_AT_ONCE // len(candidates))
    # Fresh memory for each step would cost more than the products.
    scores = queries.new_empty(min(step, len(queries)), len(candidates))
    for first in range(0, len(queries), step):
        part = slice(first, first + step)
        some = scores[: len(queries[part])]
        torch.mm(queries[part], candidates.T, out=some)
        counts[part] = count(compare, some, border[part])
    return counts


def _own_scores(queries: Tensor, own: Tensor) -> tuple[Tensor, Tensor]:
    """Give each query's score with its own candidate, and how far another order of adding may differ.

    Two float sums of n products differ by at most n times the machine's epsilon times the sum of the
    products' sizes (Higham 2002, section 3.1): a matrix product may add in another order than this one.
    """
    products = queries * own
    epsilon = torch.finfo(products.dtype).eps * products.size(1)
    return products.sum(1), epsilon * products.abs().sum(1)
