"""The in-batch softmax and its gradients in one pass over blocks of queries, without the whole logits."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from torchtowers.models.in_batch_logits import in_batch_logits
from torchtowers.models.losses import check_in_batch

__all__ = ["blocked_softmax", "runs_in_blocks"]

# Logits held at a time: in single precision 4 MB, which stay in a cache; products of fewer rows are slow.
BLOCK = 1 << 20

# Temperature, probability, candidates' ids, mask, queries' ids: as `in_batch_logits` takes them.
Corrections = tuple[float, Tensor | None, Tensor | None, Tensor | None, Tensor | None]


def runs_in_blocks(
    queries: Tensor, candidates: Tensor, probability: Tensor | None, weights: Tensor | None
) -> bool:
    """Tell whether `blocked_softmax` takes these; otherwise autograd has to see the single operations.

    It takes `[queries, dim]` in single or double precision on a CPU. Under autocast, under `torch.func`,
    while a graph is traced, and where the probabilities or the weights want a gradient, it doesn't.
    """
    if torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
        return False
    if torch.compiler.is_compiling() or torch.is_autocast_enabled("cpu"):
        return False
    if torch._C._are_functorch_transforms_active():
        return False
    if any(values is not None and values.requires_grad for values in (probability, weights)):
        return False
    return (
        queries.dim() == candidates.dim() == 2
        and queries.device.type == candidates.device.type == "cpu"
        and queries.dtype == candidates.dtype
        and queries.dtype in (torch.float32, torch.float64)
    )


def blocked_softmax(
    queries: Tensor,
    candidates: Tensor,
    score_mask: Tensor | None,
    sample_weight: Tensor | None,
    temperature: float,
    probability: Tensor | None,
    candidate_ids: Tensor | None,
    query_ids: Tensor | None,
) -> Tensor:
    """Sum the weighted losses of the queries; arguments and errors as in `in_batch_softmax`.

    The gradients are made together with the loss, while a block's exponentials are still in the cache;
    backward only scales them. A second derivative goes the plain way, through the whole logits.
    """
    check_in_batch(queries.size(0), candidates.size(0), probability, candidate_ids, query_ids, score_mask)
    weights = None if sample_weight is None else sample_weight.reshape(queries.size(0)).to(queries.dtype)
    corrections = (temperature, probability, candidate_ids, score_mask, query_ids)
    # Within `forward` the mode is always off.
    total: Tensor = _BlockedSoftmax.apply(  # type: ignore[no-untyped-call]
        queries, candidates, weights, corrections, torch.is_grad_enabled()
    )
    return total


class _BlockedSoftmax(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        queries: Tensor,
        candidates: Tensor,
        weights: Tensor | None,
        corrections: Corrections,
        grad_enabled: bool,
    ) -> Tensor:
        count, width = queries.size(0), candidates.size(0)
        scores = _Scores(queries, candidates, corrections)
        needs_query, needs_candidate = (grad_enabled and needed for needed in ctx.needs_input_grad[:2])
        query_grad = torch.empty_like(queries, memory_format=torch.contiguous_format) if needs_query else None
        candidate_grad = (
            torch.zeros_like(candidates, memory_format=torch.contiguous_format) if needs_candidate else None
        )
        losses = queries.new_empty(count)
        factors = queries.new_full((count, 1), scores.scale)
        if weights is not None:
            factors *= weights[:, None]
        rows = max(min(BLOCK // max(width, 1), count), 1)
        workspace = queries.new_empty(rows, width)
        for first in range(0, count, rows):
            last = min(first + rows, count)
            block = workspace[: last - first]
            own = block.diagonal(first)
            scores.fill(block, first, last)
            torch.softmax(block, 1, out=block)
            losses[first:last] = -own.log()
            vanished = bool((own < torch.finfo(own.dtype).tiny).any())
            own -= 1
            if query_grad is not None:
                torch.mm(block, candidates, out=query_grad[first:last]).mul_(factors[first:last])
            if candidate_grad is not None:
                candidate_grad.addmm_(block.T, queries[first:last] * factors[first:last])
            if vanished:
                # The log of a probability too small for its type has to come from the scores.
                scores.fill(block, first, last)
                losses[first:last] = block.logsumexp(1) - own
        ctx.corrections = corrections
        ctx.save_for_backward(queries, candidates, weights, query_grad, candidate_grad)
        return losses.sum() if weights is None else losses.dot(weights)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        queries, candidates, weights, query_grad, candidate_grad = ctx.saved_tensors
        if torch.is_grad_enabled():
            query_grad, candidate_grad = _differentiable(queries, candidates, weights, ctx.corrections)
        return (
            query_grad * grad if ctx.needs_input_grad[0] else None,
            candidate_grad * grad if ctx.needs_input_grad[1] else None,
            None,
            None,
            None,
        )


def _differentiable(
    queries: Tensor,
    candidates: Tensor,
    weights: Tensor | None,
    corrections: Corrections,
) -> tuple[Tensor | None, Tensor | None]:
    logits = in_batch_logits(queries, candidates, *corrections)
    losses = F.cross_entropy(logits, torch.arange(logits.size(0), device=logits.device), reduction="none")
    total = losses.sum() if weights is None else losses.dot(weights)
    wanted = [values for values in (queries, candidates) if values.requires_grad]
    grads = iter(torch.autograd.grad(total, wanted, create_graph=True))
    return (
        next(grads) if queries.requires_grad else None,
        next(grads) if candidates.requires_grad else None,
    )


class _Scores:
    """The corrected scores, as `in_batch_logits` gives them, a block of rows at a time."""

    def __init__(self, queries: Tensor, candidates: Tensor, corrections: Corrections) -> None:
        temperature, probability, candidate_ids, self.mask, query_ids = corrections
        self.queries, self.candidates = queries, candidates
        self.scale = 1.0 / temperature
        self.bias, self.beta = queries.new_zeros(1), 0
        if probability is not None:
            self.bias, self.beta = -torch.log(probability.clamp(1e-6, 1.0)).to(queries.dtype), 1
        self.equals = []
        if candidate_ids is not None:
            self.equals.append(_Equals(candidate_ids[: queries.size(0)], candidate_ids))
        if query_ids is not None:
            self.equals.append(_Equals(query_ids, query_ids))

    def fill(self, out: Tensor, first: int, last: int) -> None:
        """Write the scores of rows `first` to `last`, `[last - first, candidates]`."""
        block = self.queries[first:last]
        torch.addmm(self.bias, block, self.candidates.T, beta=self.beta, alpha=self.scale, out=out)
        if self.equals:
            own = out.diagonal(first)
            kept = own.clone()
            for pairs in self.equals:
                out[pairs.places(first, last)] = float("-inf")
            own.copy_(kept)
        if self.mask is not None:
            out.masked_fill_(torch.logical_not(self.mask[first:last]), float("-inf"))


class _Equals:
    """Where rows and columns have equal ids, a block of rows at a time, without comparing each with each."""

    def __init__(self, rows: Tensor, columns: Tensor) -> None:
        # torch.searchsorted warns of strided ones.
        rows, columns = rows.contiguous(), columns.contiguous()
        ordered, self.order = columns.sort()
        self.start = torch.searchsorted(ordered, rows)
        self.number = torch.searchsorted(ordered, rows, right=True) - self.start

    def places(self, first: int, last: int) -> tuple[Tensor, Tensor]:
        """Give the row, counted from `first`, and the column of each pair of equals."""
        start, number = self.start[first:last], self.number[first:last]
        rows = torch.repeat_interleave(number)
        before = number.cumsum(0) - number
        places = torch.arange(rows.size(0), device=rows.device) + (start - before)[rows]
        return rows, self.order[places]
