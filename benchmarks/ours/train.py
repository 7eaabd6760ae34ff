"""Training and evaluation with torchtowers; the works of benchmarks/train.py."""

from itertools import cycle
from typing import Any

import numpy as np
import torch
from answering import Step, answer
from numpy.typing import NDArray

from torchtowers.data.batches import Batch
from torchtowers.data.ranking_batch import RankingBatch
from torchtowers.models.brute_force import BruteForce
from torchtowers.models.composite_optimizer import CompositeOptimizer
from torchtowers.models.dcn import build_dcn
from torchtowers.models.dlrm import build_dlrm
from torchtowers.models.embeddings import TokenEmbedding
from torchtowers.models.factorized_top_k import FactorizedTopK
from torchtowers.models.id_tower import IdTower
from torchtowers.models.lazy_adam import LazyAdam
from torchtowers.models.optimizers import split_parameters
from torchtowers.models.ranking_model import RankingModel
from torchtowers.models.retrieval import Retrieval
from torchtowers.models.sparse_adagrad import SparseAdagrad
from torchtowers.models.two_tower import TwoTower


def two_tower(users: int, items: int, dim: int) -> TwoTower:
    """The quickstart's model over integer ids, with TFRS's loss: a plain sum, no correction."""
    query = IdTower(TokenEmbedding(users, dim), key="user")
    candidate = IdTower(TokenEmbedding(items, dim), key="item")
    return TwoTower(query, candidate, Retrieval())


def pairs(users: int, items: int, size: int, count: int) -> list[Batch]:
    """Draw batches of pairs, the same on both sides."""
    random = np.random.default_rng(1)
    user, item = random.integers(0, users, size * count), random.integers(0, items, size * count)
    parts = [slice(first, first + size) for first in range(0, size * count, size)]
    return [Batch({"user": user[part]}, {"item": item[part]}, item[part]) for part in parts]


def training(
    model: TwoTower | RankingModel, optimizer: torch.optim.Optimizer | CompositeOptimizer, batches: list[Any]
) -> Step:
    """Give a training step, warmed up."""
    stream = cycle(batches)

    def step() -> float:
        loss = model.compute_loss(next(stream))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()

    return warmed(step)


def warmed(step: Step) -> Step:
    """Take some steps that are not timed."""
    for _ in range(3):
        step()
    return step


def large(make: type[SparseAdagrad] | type[LazyAdam], learning_rate: float) -> Step:
    """1M users, 200k items, dim 64, batch 4096."""
    model = two_tower(1_000_000, 200_000, 64)
    optimizer = make(model.parameters(), lr=learning_rate)
    return training(model, optimizer, pairs(1_000_000, 200_000, 4096, 32))


def tutorial() -> Step:
    """The sizes of the basic_retrieval tutorial."""
    model = two_tower(943, 1682, 32)
    return training(model, SparseAdagrad(model.parameters(), lr=0.1), pairs(943, 1682, 8192, 8))


def softmax_products(batch: int, dim: int) -> Step:
    """The three matrix products of an in-batch softmax, into memory that is there."""
    queries, candidates = torch.randn(batch, dim), torch.randn(batch, dim)
    logits, first, second = torch.empty(batch, batch), torch.empty(batch, dim), torch.empty(batch, dim)

    def step() -> None:
        torch.mm(queries, candidates.T, out=logits)
        torch.mm(logits, candidates, out=first)
        torch.mm(logits.T, queries, out=second)

    return warmed(step)


def linear_products(*layers: tuple[int, int]) -> Step:
    """The products of linear layers at batch 4096: the output, the gradients of weights and input."""
    parts = []
    for width, units in layers:
        x, y, weight = torch.randn(4096, width), torch.randn(4096, units), torch.randn(units, width)
        parts.append((x, y, weight, torch.empty_like(x), torch.empty_like(y), torch.empty_like(weight)))

    def step() -> None:
        for x, y, weight, of_x, of_y, of_weight in parts:
            torch.mm(x, weight.T, out=of_y)
            torch.mm(y.T, x, out=of_weight)
            torch.mm(y, weight, out=of_x)

    return warmed(step)


BOTTOM = ((13, 256), (256, 64), (64, 16))


def evaluation(*, by_id: bool) -> Step:
    """20k queries against 1682 candidates, a whole evaluation each time."""
    random = np.random.default_rng(2)
    candidates = torch.from_numpy(random.standard_normal((1682, 32), dtype=np.float32))
    queries = torch.from_numpy(random.standard_normal((20_000, 32), dtype=np.float32))
    ids = torch.from_numpy(random.integers(0, 1682, 20_000))
    own = candidates[ids]
    metric = FactorizedTopK(BruteForce(candidates))

    def step() -> dict[str, float]:
        metric.reset()
        for first in range(0, 20_000, 4096):
            part = slice(first, first + 4096)
            metric.update(queries[part], own[part], true_candidate_ids=ids[part] if by_id else None)
        return {name: float(value) for name, value in metric.compute().items()}

    step()
    return step


def ranking(build: Any) -> Step:
    """26 features and 13 numbers, batch 4096."""
    random = np.random.default_rng(3)
    names = [f"{number:02}" for number in range(26)]
    count = 8 * 4096
    features: dict[str, NDArray[Any]] = {name: random.integers(0, 100_000, count) for name in names}
    features["dense"] = random.standard_normal((count, 13), dtype=np.float32)
    labels = random.integers(0, 2, count).astype(np.float32)
    batches = [
        RankingBatch(
            {name: column[first : first + 4096] for name, column in features.items()},
            labels[first : first + 4096],
        )
        for first in range(0, count, 4096)
    ]
    model: RankingModel = build(dict.fromkeys(names, 100_000), dense_dim=13)
    tables, layers = split_parameters(model)
    optimizer = CompositeOptimizer(
        [
            SparseAdagrad(tables, lr=0.01),
            # The same numbers for the layers, whose gradients are dense, in one kernel.
            torch.optim.Adagrad(layers, lr=0.01, initial_accumulator_value=0.1, eps=1e-7, fused=True),
        ]
    )
    return training(model, optimizer, batches)


if __name__ == "__main__":
    answer(
        {
            "adagrad": lambda: large(SparseAdagrad, 0.1),
            "adam": lambda: large(LazyAdam, 0.001),
            "products": lambda: softmax_products(4096, 64),
            "tutorial_products": lambda: softmax_products(8192, 32),
            "dlrm_products": lambda: linear_products(*BOTTOM, (368, 512), (512, 256), (256, 1)),
            "dcn_products": lambda: linear_products(
                *BOTTOM, *[(432, 432)] * 3, (448, 512), (512, 256), (256, 1)
            ),
            "tutorial": tutorial,
            "evaluation": lambda: evaluation(by_id=False),
            "evaluation_by_id": lambda: evaluation(by_id=True),
            "dlrm": lambda: ranking(build_dlrm),
            "dcn": lambda: ranking(build_dcn),
        }
    )
