"""The frame of ranking models: what goes where, other tasks, TorchScript and ONNX."""

import io
import warnings
from collections.abc import Callable

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from torchtowers.data.ranking_batch import RankingBatch
from torchtowers.models.dcn import build_dcn
from torchtowers.models.dlrm import build_dlrm
from torchtowers.models.pointwise_losses import BinaryCrossentropy, MeanSquaredError
from torchtowers.models.ranking import Ranking
from torchtowers.models.ranking_model import RankingModel

SIZES = {"user": 9, "genres": 6}
MODELS = {
    "dlrm": lambda: build_dlrm(SIZES, dense_dim=2),
    "dlrm_without_dense": lambda: build_dlrm(SIZES, self_interaction=True),
    "dcn": lambda: build_dcn(SIZES, dense_dim=2, projection_dim=4, concat_dense=False),
    "dcn_parallel": lambda: build_dcn(SIZES, dense_dim=2, parallel=True),
}


def features(batch: int, *, dense: bool = True) -> dict[str, Tensor]:
    given = {"user": torch.randint(0, 9, (batch,)), "genres": torch.randint(0, 6, (batch, 3))}
    return {**given, "dense": torch.randn(batch, 2)} if dense else given


class Parts(nn.Module):
    """Gives what the interaction was given, side by side."""

    def forward(self, features: Tensor) -> Tensor:
        return features.flatten(1)


class Fixed(nn.Module):
    """Two features, of ones and twos."""

    def forward(self, features: dict[str, Tensor]) -> Tensor:
        return torch.tensor([1.0, 2.0])[None, :, None].expand(len(features["numbers"]), 2, 1)


class Record(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        self.given = x
        return x.sum(1, keepdim=True)


def test_dense_features_are_the_last_to_interact_and_the_first_beside_it() -> None:
    top = Record()
    model = RankingModel(Fixed(), Parts(), top, bottom=nn.Identity(), dense="numbers")
    prediction = model({"numbers": torch.tensor([[3.0], [4.0]])})
    assert top.given.tolist() == [[3.0, 1.0, 2.0, 3.0], [4.0, 1.0, 2.0, 4.0]]
    torch.testing.assert_close(prediction, torch.sigmoid(torch.tensor([9.0, 11.0])))
    without = RankingModel(Fixed(), Parts(), top, bottom=nn.Identity(), dense="numbers", concat_dense=False)
    without({"numbers": torch.tensor([[3.0]])})
    assert top.given.tolist() == [[1.0, 2.0, 3.0]]
    RankingModel(Fixed(), Parts(), top, padding=2)({"numbers": torch.tensor([[3.0]])})
    assert top.given.tolist() == [[1.0, 2.0, 0.0, 0.0]]


def test_ratings_are_learnt_with_another_task() -> None:
    task = Ranking(MeanSquaredError())
    model = RankingModel(
        Fixed(), Parts(), Record(), bottom=nn.Identity(), dense="numbers", activation=nn.Identity(), task=task
    )
    given = {"numbers": np.array([[3.0], [4.0]], dtype=np.float32)}
    assert model({"numbers": torch.tensor([[3.0], [4.0]])}).tolist() == [9.0, 11.0]
    labels = np.array([8.0, 8.0], dtype=np.float32)
    assert model.compute_loss(RankingBatch(given, labels)).item() == 5.0
    weighted = RankingBatch(given, labels, np.array([2.0, 0.0], dtype=np.float32))
    assert model.compute_loss(weighted).item() == 1.0


def test_missing_dense_features_are_named() -> None:
    with pytest.raises(ValueError, match="feature dense is missing: got user, genres"):
        MODELS["dlrm"]()(features(2, dense=False))


@pytest.mark.parametrize("name", MODELS)
def test_every_parameter_has_a_gradient(name: str) -> None:
    model = MODELS[name]()
    given = {key: value.numpy() for key, value in features(64).items()}
    torch.autograd.backward(model.compute_loss(RankingBatch(given, np.ones(64, dtype=np.float32))))
    for parameter in model.parameters():
        assert parameter.grad is not None
        assert parameter.grad.is_sparse == (parameter is model.embedding.weight)
        assert parameter.grad.to_dense().any()


@pytest.mark.parametrize("name", MODELS)
def test_torchscript_is_equal_to_eager(name: str) -> None:
    model = MODELS[name]().eval()
    file = io.BytesIO()
    torch.jit.save(torch.jit.script(model), file)
    file.seek(0)
    scripted = torch.jit.load(file)  # type: ignore[no-untyped-call]
    for batch in (1, 2, 7):
        given = features(batch)
        for _ in range(3):
            torch.testing.assert_close(scripted(given), model(given))


@pytest.mark.parametrize("name", ["dlrm", "dcn_parallel"])
def test_onnx_is_equal_to_eager(name: str) -> None:
    model = MODELS[name]().eval()
    session = exported(model)
    for batch in (1, 2, 7):
        given = features(batch)
        (answer,) = session.run(None, {f"features_{key}": value.numpy() for key, value in given.items()})
        torch.testing.assert_close(torch.from_numpy(answer), model(given).detach(), rtol=1e-5, atol=1e-5)


def exported(model: RankingModel) -> onnxruntime.InferenceSession:
    batch, length = torch.export.Dim("batch"), torch.export.Dim("length")
    with warnings.catch_warnings():
        # torch's own, inside the exporter.
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.filterwarnings("ignore", message="# The axis name")
        program = torch.onnx.export(
            model,
            (),
            kwargs={"features": features(2)},
            dynamo=True,
            opset_version=18,
            dynamic_shapes={
                "features": {"user": {0: batch}, "genres": {0: batch, 1: length}, "dense": {0: batch}}
            },
            verbose=False,
        )
    assert program is not None
    return onnxruntime.InferenceSession(program.model_proto.SerializeToString())


@pytest.mark.parametrize("build", [build_dlrm, build_dcn])
def test_only_logits_of_a_probability_go_through_the_sigmoid(build: Callable[..., RankingModel]) -> None:
    for task in (None, Ranking(BinaryCrossentropy(from_logits=True))):
        assert isinstance(build(SIZES, task=task).activation, nn.Sigmoid)
    rated = build(SIZES, task=Ranking(MeanSquaredError()))
    assert isinstance(rated.activation, nn.Identity)
    given = features(5, dense=False)
    assert torch.equal(rated(given), rated.score(given))
    asked = build(SIZES, task=Ranking(MeanSquaredError()), activation=nn.Softplus())
    assert torch.equal(asked(given), nn.functional.softplus(asked.score(given)))
    with pytest.raises(ValueError, match="the task takes probabilities, and gets scores"):
        build(SIZES, task=Ranking())
