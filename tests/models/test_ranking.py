"""The ranking task against TFRS 0.7.7 itself, and what it does where TFRS fails."""

from typing import Any

import pytest
import torch
import torchmetrics
from torch import Tensor, nn
from torchmetrics.classification import BinaryAUROC

from tests.models import golden
from tests.models.differences import different
from torchtowers.models.listwise_losses import ListMLELoss, list_mle_loss
from torchtowers.models.pairwise_losses import PairwiseHingeLoss, pairwise_hinge_loss
from torchtowers.models.pointwise_losses import (
    BinaryCrossentropy,
    MeanSquaredError,
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    mean_squared_error,
)
from torchtowers.models.ranking import Ranking

CASES = golden.cases("ranking_task_")

DIFFERENT = different("ranking_task_")
# torchmetrics' BinaryAUROC takes no weights.
AUC_DIFFERENT = ["ranking_task_default_bce_col_sw"]


def golden_loss(case: golden.Case) -> nn.Module | None:
    losses: dict[str, nn.Module | None] = {
        "default_bce": None,
        "bce_sum": BinaryCrossentropy(reduction="sum"),
        "bce_logits": BinaryCrossentropy(from_logits=True),
        "mse": MeanSquaredError(),
        "mse_none": MeanSquaredError(reduction="none"),
    }
    return losses[case.config["loss"]]


def close(actual: Tensor | None, expected: Any) -> None:
    assert actual is not None
    torch.testing.assert_close(actual.detach(), torch.as_tensor(expected), rtol=1e-5, atol=1e-5)


def test_cases_are_there() -> None:
    assert len(CASES) == 20
    assert set(CASES) >= set(DIFFERENT)


@pytest.mark.parametrize("name", [name for name in CASES if name not in DIFFERENT])
def test_loss_and_gradient_are_those_of_tfrs(name: str) -> None:
    case = golden.load(name)
    predictions = case.inputs["predictions"].requires_grad_()
    loss = Ranking(golden_loss(case))(
        labels=case.inputs["labels"],
        predictions=predictions,
        sample_weight=case.inputs.get("sample_weight"),
    )
    loss.sum().backward()
    close(loss, case.outputs["loss"])
    close(predictions.grad, case.outputs["grad_predictions"])


@pytest.mark.parametrize("name", [name for name in DIFFERENT if name.endswith("_flat")])
def test_a_flat_batch_sums_and_keeps_its_examples(name: str) -> None:
    case = golden.load(name)
    predictions = case.inputs["predictions"].requires_grad_()
    loss = Ranking(golden_loss(case))(case.inputs["labels"], predictions)
    loss.sum().backward()
    assert loss.shape == (() if name == "ranking_task_bce_sum_flat" else (8,))
    # TFRS gives the mean for both.
    close(loss.sum() / 8, case.outputs["loss"])
    close(predictions.grad, case.outputs["grad_predictions"] * 8)


@pytest.mark.parametrize("name", [name for name in DIFFERENT if name.endswith("_raises")])
def test_flat_weights_give_what_columns_give(name: str) -> None:
    case = golden.load(name)
    assert case.raises
    task = Ranking(golden_loss(case))
    labels, weights = case.inputs["labels"], case.inputs["sample_weight"]
    flat = case.inputs["predictions"].requires_grad_()
    column = flat.detach()[:, None].requires_grad_()
    loss = task(labels, flat, weights)
    expected = task(labels[:, None], column, weights[:, None])
    loss.sum().backward()
    expected.sum().backward()
    close(loss, expected.detach())
    assert column.grad is not None
    close(flat.grad, column.grad[:, 0])


@pytest.mark.parametrize("name", [name for name in CASES if not name.endswith("_raises")])
def test_the_metrics_of_tfrs_are_torchmetrics(name: str) -> None:
    case = golden.load(name)
    labels, predictions = case.inputs["labels"], case.inputs["predictions"]
    weights = case.inputs.get("sample_weight")
    loss = Ranking(golden_loss(case))(labels, predictions, weights)
    # TFRS has averaged the examples of these already.
    loss_mean = loss.sum() / 8 if name in DIFFERENT else loss.mean()
    weights = torch.ones(()) if weights is None else weights
    expected = {key: value for key, value in case.outputs.items() if key not in ("loss", "grad_predictions")}
    means = {
        "prediction_mean": predictions,
        "label_mean": labels,
        "rmse": (predictions - labels) ** 2,
        "acc": ((predictions > 0.5) == labels).float(),
    }
    for key, value in expected.items():
        if key == "loss_mean":
            close(torchmetrics.MeanMetric()(loss_mean), value)
        elif key == "auc":
            close(_auc(predictions, labels, weights if name in AUC_DIFFERENT else None), value)
        else:
            mean = torchmetrics.MeanMetric()(means[key], weights)
            close(mean.sqrt() if key == "rmse" else mean, value)


@pytest.mark.parametrize("name", AUC_DIFFERENT)
def test_an_auc_with_weights_is_not_that_of_torchmetrics(name: str) -> None:
    case = golden.load(name)
    labels, predictions = case.inputs["labels"], case.inputs["predictions"]
    unweighted = BinaryAUROC(thresholds=200)(predictions, labels.int())
    close(unweighted, float(_auc(predictions, labels, torch.ones_like(labels))))
    assert abs(unweighted - case.outputs["auc"]) > 0.1


@pytest.mark.parametrize("name", [n for n in golden.cases("ranking_model_") if not n.endswith("_raises")])
def test_the_auc_of_tfrs_ranking_model_is_that_of_torchmetrics(name: str) -> None:
    case = golden.load(name)
    close(_auc(case.outputs["pred"], case.inputs["labels"]), case.outputs["metric_auc"])


def _auc(predictions: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
    """TFRS's AUC, by torchmetrics; with weights, the weighted share of pairs in the right order."""
    if weights is None:
        area: Tensor = BinaryAUROC(thresholds=200)(predictions, labels.int())
        return area
    yes = labels == 1
    pairs = weights[yes][:, None] * weights[~yes]
    return (pairs * (predictions[yes][:, None] > predictions[~yes])).sum() / pairs.sum()


def test_values_worked_out_by_hand() -> None:
    labels, predictions = torch.ones(2, 1), torch.tensor([[1.0], [0.3]])
    close(Ranking()(labels, predictions), 0.6019864)
    close(Ranking()(labels, predictions, torch.ones(2)), 0.6019864)
    close(binary_cross_entropy(predictions, labels, reduction="sum"), 2 * 0.6019864)
    weights = torch.tensor([1.0, 3.0])
    close(mean_squared_error(predictions[:, 0], labels, sample_weight=weights), 3 * 0.49 / 2)


def test_sure_and_wrong_is_finite_with_a_gradient_of_zero_as_in_keras() -> None:
    predictions = torch.tensor([0.0, 1.0, 0.0, 1.0], requires_grad=True)
    loss = binary_cross_entropy(predictions, torch.tensor([1, 0, 0, 1]), reduction="none")
    torch.autograd.backward(loss.sum())
    # 1 - 1e-7 rounds to another number in single precision.
    torch.testing.assert_close(loss.detach(), torch.tensor([15.42, 15.33, 0, 0]), rtol=0, atol=0.01)
    close(predictions.grad, torch.zeros(4))
    half = torch.tensor([0.0, 1.0], dtype=torch.bfloat16)
    assert binary_cross_entropy(half, torch.tensor([1, 0])).isfinite()


@pytest.mark.parametrize("loss", [binary_cross_entropy_with_logits, binary_cross_entropy, mean_squared_error])
def test_columns_and_flat_batches_mix_but_never_spread(loss: Any) -> None:
    scores, labels = torch.rand(3), torch.tensor([0.0, 1.0, 1.0])
    expected = loss(scores, labels, reduction="none")
    assert expected.shape == (3,)
    close(loss(scores[:, None], labels, reduction="none"), expected)
    close(loss(scores, labels[:, None], reduction="none"), expected)
    close(loss(scores[:1], labels[:1]), expected[0])
    assert float(loss(scores[:0], labels[:0])) == 0
    with pytest.raises(ValueError, match=r"labels \[2\] and scores \[3\] need the same shape"):
        loss(scores, labels[:2])


@pytest.mark.parametrize("loss", [binary_cross_entropy_with_logits, binary_cross_entropy, mean_squared_error])
def test_masks_and_weights_of_any_shape(loss: Any) -> None:
    scores, labels = torch.rand(2, 3), torch.tensor([[0, 1, 1], [1, 0, 0]])
    cells = torch.stack(
        [loss(scores[:, column], labels[:, column], reduction="none") for column in range(3)], 1
    )
    close(loss(scores, labels, reduction="none"), cells.mean(1))
    by_row, by_cell = torch.tensor([2.0, 0.5]), torch.arange(6.0).view(2, 3)
    for weights, spread in [
        (by_row, by_row[:, None]),
        (by_row[:, None], by_row[:, None]),
        (by_cell, by_cell),
    ]:
        close(loss(scores, labels, sample_weight=weights, reduction="none"), (cells * spread).mean(1))
    scores[0, 1] = float("nan")
    mask = torch.tensor([[True, False, True], [True, True, True]])
    close(loss(scores.requires_grad_(), labels, mask), (cells * mask).sum() / 6)
    loss(scores, labels, mask).backward()
    assert scores.grad is not None
    assert (scores.grad != 0).equal(mask)
    close(loss(scores, labels, torch.tensor([False, True]), reduction="none"), [0, float(cells[1].mean())])
    with pytest.raises(ValueError, match=r"sample_weight has shape \[3\] for predictions of \[2, 3\]"):
        loss(scores, labels, sample_weight=torch.ones(3))
    with pytest.raises(ValueError, match=r"mask has shape \[3\] for predictions of \[2, 3\]"):
        loss(scores, labels, torch.ones(3, dtype=torch.bool))


def test_losses_over_lists_fit_too() -> None:
    scores, labels = torch.randn(3, 4), torch.randint(0, 3, (3, 4))
    weights = torch.tensor([1.0, 0.0, 2.0])
    close(
        Ranking(PairwiseHingeLoss())(labels, scores, weights),
        pairwise_hinge_loss(scores, labels, sample_weight=weights),
    )
    close(
        Ranking(ListMLELoss())(labels, scores, weights),
        list_mle_loss(scores, labels, sample_weight=weights),
    )


@pytest.mark.parametrize(
    "loss",
    [None, BinaryCrossentropy(from_logits=True), MeanSquaredError(), PairwiseHingeLoss(), ListMLELoss()],
    ids=lambda loss: type(loss).__name__,
)
@pytest.mark.parametrize("batch", [1, 5])
def test_scripted_equals_eager(loss: nn.Module | None, batch: int) -> None:
    task = Ranking(loss)
    scripted = torch.jit.script(task)
    labels, predictions, weights = torch.ones(batch, 2), torch.rand(batch, 2), torch.rand(batch)
    close(scripted(labels, predictions, weights), task(labels, predictions, weights))
    close(scripted(labels, predictions), task(labels, predictions))
