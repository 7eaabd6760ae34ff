"""DLRM and Deep & Cross against `experimental.models.Ranking` of TFRS 0.7.7 itself."""

import pytest
import torch
import torchmetrics
from torch import Tensor, nn
from torchmetrics.classification import BinaryAccuracy, BinaryAUROC

from tests.models.differences import different
from tests.models.golden import FOLDER, Case, assert_close, cases, load
from torchtowers.data.ranking_batch import RankingBatch
from torchtowers.models.cross import Cross
from torchtowers.models.dcn import CrossNetwork, build_dcn
from torchtowers.models.dlrm import build_dlrm
from torchtowers.models.mlp import MLP
from torchtowers.models.pointwise_losses import BinaryCrossentropy
from torchtowers.models.ranking import Ranking
from torchtowers.models.ranking_model import RankingModel
from torchtowers.models.stacked_embedding import StackedEmbedding

CASES = cases("ranking_model_")

# Deliberately different, each with a test of its own below: why.
DIFFERENT = different("ranking_model_")


def crosses(network: CrossNetwork) -> list[Cross]:
    return [module for module in network.modules() if isinstance(module, Cross)]


def built(case: Case) -> RankingModel:
    tables = {name: value for name, value in case.params.items() if name.startswith("emb_")}
    sizes = {name.removeprefix("emb_"): len(value) for name, value in tables.items()}
    dense_dim, embedding_dim = case.inputs["dense"].size(1), case.config["bottom"][-1]
    bottom, top, concat_dense = (
        case.config["bottom"][:-1],
        case.config["top"][:-1],
        case.config["concat_dense"],
    )
    if case.config["feature_interaction"] == "DotInteraction":
        model = build_dlrm(
            sizes,
            dense_dim=dense_dim,
            embedding_dim=embedding_dim,
            bottom_hidden=bottom,
            top_hidden=top,
            concat_dense=concat_dense,
        )
    else:
        model = build_dcn(
            sizes,
            dense_dim=dense_dim,
            embedding_dim=embedding_dim,
            bottom_hidden=bottom,
            deep_hidden=top,
            num_layers=1,
            concat_dense=concat_dense,
        )
    with torch.no_grad():
        for name in sizes:
            assert isinstance(model.embedding, StackedEmbedding)
            model.embedding.table(name).copy_(tables[f"emb_{name}"])
        assert isinstance(model.bottom, MLP)
        for part, layers in (("bottom", model.bottom), ("top", model.top)):
            linears = [module for module in layers.modules() if isinstance(module, nn.Linear)]
            for place, linear in enumerate(linears):
                kernel = case.params[f"{part}_w{2 * place}"]
                # Ours may be wider, behind zeros.
                linear.weight[:, : len(kernel)].copy_(kernel.T)
                linear.bias.copy_(case.params[f"{part}_w{2 * place + 1}"])
        if "cross_kernel" in case.params:
            assert isinstance(model.interaction, CrossNetwork)
            cross = crosses(model.interaction)[0].linear
            cross.weight.copy_(case.params["cross_kernel"].T)
            cross.bias.copy_(case.params["cross_bias"])
    return model


def of_probabilities(model: RankingModel) -> RankingModel:
    """Let it learn from probabilities, as TFRS does and Keras clips them."""
    model.top = nn.Sequential(model.top, nn.Sigmoid())
    model.activation = nn.Identity()
    model.task = Ranking()
    return model


def features(case: Case) -> dict[str, Tensor]:
    """TFRS takes single indices as `[batch, 1]`."""
    sparse = {name: value for name, value in case.inputs.items() if name.startswith("sparse_")}
    named = {name.removeprefix("sparse_"): value[:, 0] for name, value in sparse.items()}
    return {**named, "dense": case.inputs["dense"]}


def batch(case: Case, weight: Tensor | None = None) -> RankingBatch:
    return RankingBatch(
        {name: value.numpy() for name, value in features(case).items()},
        case.inputs["labels"].numpy(),
        None if weight is None else weight.numpy(),
    )


@pytest.mark.skipif(FOLDER.name != "golden", reason="another folder is tested")
def test_cases_are_there() -> None:
    assert len(CASES) == 6
    assert set(CASES) > set(DIFFERENT)


@pytest.mark.parametrize("name", [name for name in CASES if name not in DIFFERENT])
def test_predictions_loss_and_metrics_are_those_of_tfrs(name: str) -> None:
    case = load(name)
    model, labels = built(case), case.inputs["labels"]
    predictions = model(features(case)).detach()
    # Keras's AUC has 200 thresholds, too.
    actual = {
        "pred": predictions,
        "loss": of_probabilities(built(case)).compute_loss(batch(case)),
        "metric_auc": BinaryAUROC(thresholds=200)(predictions, labels.long()),
        "metric_accuracy": BinaryAccuracy()(predictions, labels),
        "metric_prediction_mean": torchmetrics.MeanMetric()(predictions),
        "metric_label_mean": torchmetrics.MeanMetric()(labels),
    }
    assert set(actual) == set(case.outputs)
    for key, value in actual.items():
        assert_close(value, case.outputs[key])


@pytest.mark.parametrize("name", DIFFERENT)
def test_flat_weights_multiply_each_loss(name: str) -> None:
    assert (load(name).raises or [""])[0] == "InvalidArgumentError"
    case = load(name.removesuffix("_sample_weight_raises"))
    model, weight = of_probabilities(built(case)), case.inputs["sample_weight"]
    losses = BinaryCrossentropy(reduction="none")(case.outputs["pred"], case.inputs["labels"])
    assert_close(model.compute_loss(batch(case, weight)), (losses * weight).mean())
    assert_close(model.compute_loss(batch(case, torch.ones(6))), case.outputs["loss"])


@pytest.mark.parametrize("name", [name for name in CASES if name not in DIFFERENT])
def test_the_loss_of_logits_has_no_clipping(name: str) -> None:
    case = load(name)
    model, weight = built(case), case.inputs["sample_weight"]
    labels = case.inputs["labels"].double()
    scores = model.score(features(case)).detach().double()
    losses = torch.log1p(torch.exp(scores)) - labels * scores
    assert_close(model.compute_loss(batch(case)), losses.mean().float())
    assert_close(model.compute_loss(batch(case, weight)), (losses * weight).mean().float())
    # Keras adds 1e-7 to each probability.
    torch.testing.assert_close(losses.mean().float(), case.outputs["loss"], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", [name for name in CASES if name not in DIFFERENT])
def test_a_batch_of_one_keeps_its_dimension(name: str) -> None:
    case = load(name)
    first = {key: value[:1] for key, value in features(case).items()}
    assert_close(built(case)(first), case.outputs["pred"][:1])
