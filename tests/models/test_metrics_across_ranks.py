"""Every metric gives in each of two processes what one process gives that has seen it all."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torchmetrics import Metric

from tests.models.processes import run_by_two
from torchtowers.models.brute_force import BruteForce
from torchtowers.models.calibration import Calibration
from torchtowers.models.catalogue_metrics import CatalogueMetrics
from torchtowers.models.coverage import CatalogueCoverage
from torchtowers.models.factorized_top_k import FactorizedTopK
from torchtowers.models.normalized_entropy import NormalizedEntropy
from torchtowers.models.per_user_auc import PerUserAUC
from torchtowers.models.popularity_bias import PopularityBias
from torchtowers.models.ranking_metrics import NDCG

USERS, ITEMS = 10, 12
# User 7 has an area of 1, user 2^40 one of 0.
AUC = (torch.tensor([0.9, 0.1, 0.8, 0.3]), torch.tensor([1, 0, 0, 1]), torch.tensor([7, 7, 2**40, 2**40]))
Batches = list[tuple[Any, ...]]


def inputs() -> dict[str, tuple[Callable[[], Metric], Batches]]:
    """How each metric is made, and a call of `update` for each user."""
    generator = torch.Generator().manual_seed(0)
    queries = torch.randn(USERS, 4, generator=generator)
    candidates = torch.randn(ITEMS, 4, generator=generator)
    scores = queries @ candidates.T
    clicks = (torch.rand(USERS, 6, generator=generator) < 0.4).float()
    shown = torch.rand(USERS, 6, generator=generator)
    relevant = [[row % ITEMS, (5 * row + 1) % ITEMS, 3][: 1 + row % 3] for row in range(USERS)]
    seen = [[(row + 7) % ITEMS] for row in range(USERS)]
    best = scores.argsort(1, descending=True)

    def each(*parts: Any) -> Batches:
        return [tuple(part[row : row + 1] for part in parts) for row in range(USERS)]

    flat = [(shown[row], clicks[row], torch.full((6,), row % 4)) for row in range(USERS)]
    return {
        "FactorizedTopK": (lambda: FactorizedTopK(BruteForce(candidates), (1, 5)), each(queries, queries)),
        "CatalogueMetrics over an index": (
            lambda: CatalogueMetrics(BruteForce(candidates), (1, 5)),
            each(queries, relevant, seen),
        ),
        "CatalogueMetrics": (lambda: CatalogueMetrics(ks=(1, 5)), each(scores, relevant, seen)),
        "CatalogueCoverage": (lambda: CatalogueCoverage(ITEMS, (1, 3)), each(best)),
        "PopularityBias": (lambda: PopularityBias(torch.arange(ITEMS), (1, 3)), each(best)),
        "PerUserAUC": (PerUserAUC, flat),
        "NormalizedEntropy": (NormalizedEntropy, [part[:2] for part in flat]),
        "Calibration": (Calibration, [part[:2] for part in flat]),
        "NDCG": (lambda: NDCG(k=3), each(shown, clicks)),
    }


def values(metric: Metric) -> Tensor:
    found = metric.compute()
    return torch.stack(list(found.values())) if isinstance(found, dict) else found


def measure(rank: int, folder: Path) -> None:
    """Take every third user in one process and the rest in the other, and leave what both compute."""
    for name, (make, batches) in inputs().items():
        metric = make()
        for batch in [batch for row, batch in enumerate(batches) if (row % 3 == 0) == (rank == 0)]:
            metric.update(*batch)
        np.save(folder / f"{name} {rank}.npy", values(metric).numpy())
    idle = PerUserAUC()
    if rank == 0:
        idle.update(*AUC)
    np.save(folder / f"idle {rank}.npy", idle.compute().numpy())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ranks")
    run_by_two(measure, folder)
    return folder


@pytest.mark.parametrize("name", inputs())
def test_two_ranks_give_what_one_gives(name: str, folder: Path) -> None:
    make, batches = inputs()[name]
    whole, half = make(), make()
    for row, batch in enumerate(batches):
        whole.update(*batch)
        if row % 3 == 0:
            half.update(*batch)
    expected = values(whole)
    assert not torch.allclose(values(half), expected)
    for rank in range(2):
        gathered = torch.from_numpy(np.load(folder / f"{name} {rank}.npy"))
        torch.testing.assert_close(gathered, expected, rtol=1e-6, atol=1e-6)


def test_a_rank_without_impressions_takes_part(folder: Path) -> None:
    assert [float(np.load(folder / f"idle {rank}.npy")) for rank in range(2)] == [0.5, 0.5]
