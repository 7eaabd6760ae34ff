"""FactorizedTopK on the cases of TFRS 0.7.7."""

from typing import Any

import pytest
import torch
import torchmetrics
from torch import Tensor

from tests.models.differences import different
from tests.models.golden import cases, load
from torchtowers.models.brute_force import BruteForce
from torchtowers.models.factorized_top_k import FactorizedTopK
from torchtowers.models.retrieval import Retrieval
from torchtowers.models.streaming import Streaming

RESET = "factorized_topk_reset"
# What TFRS does and we don't: adding up a query's own score in another order than the candidates' makes it
# lose to its own copy in the index. `test_rounding_changes_no_figure` says what ours gives.
DIFFERENT = different("factorized_topk_")
SERIES = sorted(set(cases("factorized_topk_")) - set(DIFFERENT) - {RESET})
TASKS = cases("retrieval_metrics_")


def figures(metric: FactorizedTopK) -> Tensor:
    return torch.stack(list(metric.compute().values()))


def batches(candidates: Tensor, ids: Any, size: int) -> list[tuple[Any, Tensor]]:
    return [(ids[f : f + size], candidates[f : f + size]) for f in range(0, len(ids), size)]


def close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-5)


def test_cases_are_there() -> None:
    assert set(DIFFERENT) < set(cases("factorized_topk_"))
    assert len(SERIES) == 13
    assert len(TASKS) == 2


@pytest.mark.parametrize("own_kind", [True, False], ids=["as_tfrs", "batches"])
@pytest.mark.parametrize("name", SERIES)
def test_figures_are_those_of_tfrs(name: str, own_kind: bool) -> None:
    case = load(name)
    given = case.inputs
    parts = batches(given["candidates"], given["identifiers"], case.config["candidate_batch"] or 40)
    source: Any = parts
    if own_kind:
        brute = case.config["over"] == "bruteforce"
        source = BruteForce(given["candidates"], given["identifiers"]) if brute else Streaming(parts)
    metric = FactorizedTopK(source, ks=case.config["ks"])
    for step, expected in enumerate(case.outputs["result_after"]):
        metric.update(
            given[f"query_{step}"],
            given[f"true_emb_{step}"],
            given.get(f"true_id_{step}"),
            given.get(f"sample_weight_{step}"),
        )
        close(figures(metric), expected)


@pytest.mark.parametrize("name", DIFFERENT)
def test_rounding_changes_no_figure(name: str) -> None:
    case = load(name)
    given, ks = case.inputs, torch.tensor(case.config["ks"])
    metric = FactorizedTopK(BruteForce(given["candidates"]), ks=ks.tolist())
    hits, total = torch.zeros(len(ks)), 0.0
    for step, tfrs in enumerate(case.outputs["result_after"]):
        queries, own = given[f"query_{step}"], given[f"true_emb_{step}"]
        weights = given.get(f"sample_weight_{step}", torch.ones(len(queries)))
        metric.update(queries, own, sample_weight=weights)
        wide = queries.double()
        scores, of_own = wide @ given["candidates"].double().T, (wide * own.double()).sum(1, keepdim=True)
        above = (scores > of_own + 1e-12).sum(1, keepdim=True)
        hits, total = hits + weights @ (above < ks).float(), total + weights.sum()
        close(figures(metric), hits / total)
        assert (tfrs <= figures(metric) + 1e-6).all()
    assert (tfrs < figures(metric) - 1e-3).any()


def test_reset_begins_at_zero_as_in_tfrs() -> None:
    case = load(RESET)
    metric = FactorizedTopK(BruteForce(case.inputs["candidates"]), ks=case.config["ks"])
    metric.update(case.inputs["query"], case.inputs["true_emb"])
    close(figures(metric), case.outputs["before"])
    metric.reset()
    with pytest.warns(UserWarning, match="before the ``update`` method"):
        close(figures(metric), case.outputs["after"])


@pytest.mark.parametrize("name", TASKS)
def test_figures_of_a_task_are_those_of_tfrs(name: str) -> None:
    case = load(name)
    given = case.inputs
    parts = batches(given["candidates"], torch.arange(len(given["candidates"])), 7)
    metric = FactorizedTopK(parts, ks=case.config["ks"])
    queries, own = given["query_embeddings"], given["candidate_embeddings"]
    metric.update(queries, own[: len(queries)], given.get("candidate_ids"), given["sample_weight"])
    close(figures(metric), case.outputs["topk"])
    # TFRS's metric of the batch is the same question with the batch for candidates.
    batch = FactorizedTopK(BruteForce(own), ks=(2,))
    batch.update(queries, own, sample_weight=given["sample_weight"])
    close(figures(batch), case.outputs["batch_metric"][None])
    loss = Retrieval()(queries, own, sample_weight=given["sample_weight"])
    close(loss, case.outputs["loss"])
    close(torchmetrics.MeanMetric()(loss), case.outputs["loss_metric"])
    assert case.outputs.keys() == {"loss", "topk", "batch_metric", "loss_metric"}
