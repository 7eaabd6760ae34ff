"""The retrieval task and its corrections against values computed by TFRS 0.7.7 itself."""

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torchmetrics import MeanMetric

from tests.models.differences import different
from tests.models.golden import FOLDER, assert_close, cases, load
from torchtowers.models.in_batch_logits import in_batch_logits
from torchtowers.models.losses import correct_sampling, mine_hard_negatives, remove_accidental_hits
from torchtowers.models.retrieval import Retrieval

# What the configurations call losses, in our words.
LOSSES: dict[str, dict[str, Any]] = {
    "default CategoricalCrossentropy(from_logits=True, reduction=SUM)": {},
    "CategoricalCrossentropy(from_logits=True, reduction=SUM_OVER_BATCH_SIZE)": {"reduction": "mean"},
    "CategoricalCrossentropy(from_logits=True, reduction=NONE)": {"reduction": "none"},
    "CategoricalCrossentropy(from_logits=True, label_smoothing=0.1, reduction=SUM)": {
        "loss": partial(F.cross_entropy, reduction="none", label_smoothing=0.1)
    },
}
# Deliberately different, each with a test of its own below: why.
DIFFERENT = different("retrieval_")
# These come with metrics, of which `test_factorized_top_k.py` takes the one over all candidates.
WITH_METRICS = cases("retrieval_metrics_")
CASES = [name for name in cases("retrieval_") if name not in WITH_METRICS]


@pytest.mark.skipif(FOLDER.name != "golden", reason="another folder is tested")
def test_cases_are_there() -> None:
    assert len(CASES) == 48
    assert len(WITH_METRICS) == 2
    assert set(CASES) > set(DIFFERENT)


@pytest.mark.parametrize("name", [name for name in CASES if name not in DIFFERENT])
def test_loss_and_gradients_are_those_of_tfrs(name: str) -> None:
    case = load(name)
    config = dict(case.config)
    task = Retrieval(**LOSSES[config.pop("loss")], **config)
    queries = case.inputs.pop("query_embeddings").requires_grad_()
    candidates = case.inputs.pop("candidate_embeddings").requires_grad_()
    loss = task(queries, candidates, **case.inputs)
    loss.sum().backward()
    close = partial(torch.testing.assert_close, rtol=1e-5, atol=1e-5)
    close(loss.detach(), case.outputs["loss"])
    close(queries.grad, case.outputs["grad_query"])
    close(candidates.grad, case.outputs["grad_candidate"])


@pytest.mark.parametrize("name", WITH_METRICS)
def test_the_loss_beside_metrics_and_those_of_the_batch_are_those_of_tfrs(name: str) -> None:
    case = load(name)
    queries, candidates = case.inputs["query_embeddings"], case.inputs["candidate_embeddings"]
    weights, ids = case.inputs["sample_weight"], case.inputs.get("candidate_ids")
    loss = Retrieval()(queries, candidates, weights, candidate_ids=ids)
    assert_close(loss, case.outputs["loss"])
    mean = MeanMetric()
    mean.update(loss)
    assert_close(mean.compute(), case.outputs["loss_metric"])
    # TFRS gives its metrics of a batch the corrected scores, and so can whoever uses these.
    assert case.config["batch_metric"] == "TopKCategoricalAccuracy(k=2)"
    best = in_batch_logits(queries, candidates).topk(2, dim=1).indices
    hits = (best == torch.arange(len(best))[:, None]).any(1)
    accuracy = MeanMetric()
    accuracy.update(hits.float(), weights)
    assert_close(accuracy.compute(), case.outputs["batch_metric"])


def test_string_ids_are_numbered_first() -> None:
    case = load("retrieval_rah_string_ids")
    numbers = torch.from_numpy(np.unique(case.inputs["candidate_ids"], return_inverse=True)[1])
    task = Retrieval(remove_accidental_hits=True)
    loss = task(case.inputs["query_embeddings"], case.inputs["candidate_embeddings"], candidate_ids=numbers)
    torch.testing.assert_close(loss, case.outputs["loss"], rtol=1e-5, atol=1e-5)


def test_accidental_hits_need_ids() -> None:
    assert (load("retrieval_rah_without_ids_raises").raises or [""])[0] == "ValueError"
    task = Retrieval(remove_accidental_hits=True)
    with pytest.raises(ValueError, match="needs candidate_ids"):
        task(torch.eye(2), torch.eye(2))


@pytest.mark.parametrize("name", cases("loss_hard_negative_mining"))
def test_hard_negatives_are_those_of_tfrs(name: str) -> None:
    case = load(name)
    logits, labels = mine_hard_negatives(
        case.inputs["logits"], case.inputs["labels"], case.config["num_hard_negatives"]
    )
    # TFRS leaves the order of columns open.
    torch.testing.assert_close(logits.sort(1, descending=True).values, case.outputs["logits_sorted_desc"])
    positive = (logits * labels).sum(1)
    torch.testing.assert_close(positive, (case.outputs["logits"] * case.outputs["labels"]).sum(1))
    torch.testing.assert_close(labels.sum(1), case.outputs["labels"].sum(1))


@pytest.mark.parametrize("name", cases("loss_remove_accidental_hits"))
def test_accidental_hits_are_those_of_tfrs(name: str) -> None:
    case = load(name)
    kept = remove_accidental_hits(case.inputs["logits"], case.inputs["candidate_ids"])
    # TFRS adds a large negative number where -inf stands here.
    hit = case.outputs["logits"] < -1e30
    assert (torch.isneginf(kept) == hit).all()
    assert hit.any()
    torch.testing.assert_close(kept[~hit], case.outputs["logits"][~hit])


def test_sampling_correction_is_that_of_tfrs() -> None:
    case = load("loss_sampling_probability_correction")
    (probability,) = [value for key, value in case.inputs.items() if key != "logits"]
    corrected = correct_sampling(case.inputs["logits"], probability)
    torch.testing.assert_close(corrected, case.outputs["logits"], rtol=1e-5, atol=1e-5)


def test_hard_negatives_are_those_of_keras_rs() -> None:
    case = load("krs_hard_negative_mining")
    logits, labels = mine_hard_negatives(case.inputs["logits"], case.inputs["labels"], 2)
    ours, theirs = logits.sort(1).values, case.outputs["logits"].sort(1).values
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(
        (logits * labels).sum(1), (case.outputs["logits"] * case.outputs["labels"]).sum(1)
    )


def test_sampling_correction_is_that_of_keras_rs() -> None:
    case = load("krs_sampling_probability_correction")
    corrected = correct_sampling(case.inputs["logits"], case.inputs["p"])
    torch.testing.assert_close(corrected, case.outputs["logits"], rtol=1e-5, atol=1e-5)


def test_accidental_hits_of_keras_rs_are_not_removed_and_ours_are() -> None:
    """Keras-RS 0.4.0 adds 1e-40 where a large negative number is meant, so it removes nothing."""
    case = load("krs_remove_accidental_hits")
    logits, labels, ids = (case.inputs[name] for name in ("logits", "labels", "candidate_ids"))
    torch.testing.assert_close(case.outputs["logits"], logits)
    assert (labels.argmax(1) == torch.arange(len(labels))).all()
    same = (ids[None, :] == ids[: len(labels), None]) & (labels == 0)
    assert same.any()
    assert (torch.isneginf(remove_accidental_hits(logits, ids)) == same).all()


def test_values_worked_out_by_hand() -> None:
    """From TFRS's own tests of the task."""
    queries = torch.tensor([[1.0, 2, 3], [2, 3, 4]])
    candidates = torch.tensor([[1.0, 1, 1], [1, 1, 0]])
    assert Retrieval()(queries, candidates).item() == pytest.approx(4.066737, abs=1e-5)
    weighted = Retrieval()(queries, candidates, sample_weight=torch.tensor([[0.7], [0.3]]))
    assert weighted.item() == pytest.approx(1.239456, abs=1e-5)
    queries = torch.tensor([[3.0, 2, 1], [2, 3, 4]])
    candidates = torch.tensor([[0.0, 1, 0], [0, 1, 1], [1, 1, 0]])
    assert Retrieval()(queries, candidates).item() == pytest.approx(3.312778, abs=1e-5)
    heads = torch.tensor([[[3.0, 2, 1], [1, 2, 3]], [[2, 3, 4], [4, 3, 2]]])
    assert Retrieval()(heads, candidates).item() == pytest.approx(4.419999, abs=1e-5)


def test_mean_is_the_sum_divided_by_the_queries() -> None:
    queries, candidates = torch.randn(4, 3), torch.randn(6, 3)
    total, mean = Retrieval()(queries, candidates), Retrieval(reduction="mean")(queries, candidates)
    torch.testing.assert_close(mean, total / 4)


def test_a_row_whose_negatives_are_all_left_out_has_no_loss_and_no_gradient() -> None:
    queries = torch.randn(3, 2, requires_grad=True)
    task = Retrieval(remove_accidental_hits=True, num_hard_negatives=2)
    loss = task(queries, torch.randn(3, 2), candidate_ids=torch.tensor([7, 7, 7]))
    loss.backward()
    assert loss.item() == 0.0
    assert queries.grad is not None
    assert queries.grad.tolist() == [[0.0, 0.0]] * 3


@pytest.mark.parametrize(
    ("settings", "said"),
    [({"temperature": 0.0}, "got 0.0"), ({"num_hard_negatives": 0}, "got 0")],
)
def test_settings_of_no_use_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Retrieval(**settings)


def test_fewer_candidates_than_queries_are_refused() -> None:
    with pytest.raises(ValueError, match=r"candidates \(2\) fewer than queries \(3\)"):
        Retrieval()(torch.randn(3, 2), torch.randn(2, 2))
