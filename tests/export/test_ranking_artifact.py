"""The artifact of a ranking model, of every interaction and loss."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.tiny import tiny_ranking_config, tiny_ranking_trained
from torchtowers.export.artifact import export_artifact
from torchtowers.export.comparison import TOLERANCE
from torchtowers.handlers.candidate_ranker import CandidateRanker
from torchtowers.handlers.signature import Signature
from torchtowers.models.batch_tensors import to_tensors
from torchtowers.models.experiment import Trained


def test_signature_tells_what_a_row_has_once_and_what_each_candidate_has(ranking_artifact: Path) -> None:
    signature = Signature.read(ranking_artifact)
    assert signature.kind == "ranking"
    assert signature.index is None
    assert signature.towers == {
        "torchscript": {"ranker": "ranker.pt"},
        "onnx": {"ranker": "ranker.onnx"},
    }
    assert [spec.name for spec in signature.query.features] == ["user_id", "age", "gender", "history", "hour"]
    assert set(signature.query.lookup) == {"age", "gender", "history"}
    assert signature.candidate is not None
    assert [spec.name for spec in signature.candidate.features] == [
        "item_id",
        "title",
        "genres",
        "year",
        "fans",
    ]
    assert set(signature.candidate.lookup) == {"title", "genres", "year", "fans"}
    files = {p.relative_to(ranking_artifact).as_posix() for p in ranking_artifact.rglob("*") if p.is_file()}
    assert set(signature.files) == files - {"signature.json", "model-config.yaml"}


def test_answers_are_the_trained_models(ranking_trained: Trained, ranking_artifact: Path) -> None:
    dataset, ranker = ranking_trained.dataset, CandidateRanker.load(ranking_artifact)
    users, items = np.repeat(np.arange(len(dataset.users)), 60), np.tile(np.arange(60), len(dataset.users))
    features = {**dataset.users.take(users), **dataset.items.take(items)}
    features["hour"] = np.full(len(users), dataset.context_encoders["hour"].encode_value(13, "hour"))
    with torch.inference_mode():
        expected = ranking_trained.model.eval()(to_tensors(features)).numpy().reshape(-1, 60)
    rows = [{"user_id": user, "hour": 13} for user in dataset.users.tokens]
    answer = ranker.rank({"instances": rows, "candidates": list(dataset.items.tokens)})
    scores = np.array([row["scores"] for row in answer["predictions"]])
    np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-5)


def test_without_lookup_a_request_has_to_send_features(ranking_trained: Trained, tmp_path: Path) -> None:
    export_artifact(ranking_trained, tmp_path / "bare", ("torchscript",), lookup=False)
    signature = Signature.read(tmp_path / "bare")
    assert signature.candidate is not None
    assert not signature.query.lookup
    assert not signature.candidate.lookup
    assert not (tmp_path / "bare/lookup").exists()


@pytest.mark.parametrize(
    ("interaction", "loss"),
    [
        ("dlrm", "mean_squared_error"),
        ("wide_and_deep", "binary_crossentropy"),
        ("dcn", "pairwise"),
        ("dcn", "listwise"),
    ],
)
def test_every_interaction_and_loss_is_exported_and_verified(
    tmp_path: Path, interaction: str, loss: str
) -> None:
    clicks = {"positive_from": 4} if loss == "binary_crossentropy" else {}
    crosses = [["gender", "hour"]] if interaction == "wide_and_deep" else []
    config = tiny_ranking_config(interaction=interaction, loss=loss, list_size=4, crosses=crosses, **clicks)
    trained = tiny_ranking_trained(tmp_path / "run", config)
    comparisons = export_artifact(trained, tmp_path / "artifact")
    assert max(comparison.difference for comparison in comparisons) <= TOLERANCE
    scores = CandidateRanker.load(tmp_path / "artifact").rank(
        {"user_id": "u1", "candidates": [str(item) for item in range(100, 160)]}
    )["scores"]
    if loss == "binary_crossentropy":
        assert 0 < min(scores) < max(scores) < 1
