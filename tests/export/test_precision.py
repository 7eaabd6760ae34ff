"""Artifacts with smaller weights and a smaller index, and what they lose."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import yaml

from tests.test_bad_input import CONFIGS, DATA, tables
from torchtowers.cli.main import main
from torchtowers.export.archive import build_archive
from torchtowers.export.artifact import export_artifact
from torchtowers.export.errors import ExportError, LossError, VerificationError
from torchtowers.export.loss import Loss, check_loss
from torchtowers.export.precision import Precision
from torchtowers.export.stored import check_stored
from torchtowers.export.verification import verify_artifact
from torchtowers.handlers.candidate_ranker import CandidateRanker
from torchtowers.handlers.recommender import Recommender
from torchtowers.handlers.signature import Signature
from torchtowers.models.evaluation import embed_candidates
from torchtowers.models.experiment import Trained
from torchtowers.models.kinds import kind_of

INT8 = Precision("int8", "int8", max_loss=1)


@pytest.fixture(scope="module")
def small(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An artifact of int8 weights and index, in every format but pt2; not to be changed."""
    out = tmp_path_factory.mktemp("small") / "tiny"
    export_artifact(trained, out, fused=True, precision=INT8)
    return out


def report_of(folder: Path) -> Any:
    return json.loads((folder / "report.json").read_text())


def test_the_signature_says_what_there_is(small: Path) -> None:
    signature = Signature.read(small)
    assert signature.weights == "int8"
    assert signature.index is not None
    assert signature.index.dtype == "int8"
    embeddings = np.load(small / signature.index.embeddings)
    assert embeddings.dtype == np.int8
    assert signature.index.scales is not None
    assert {signature.index.embeddings, signature.index.scales} <= signature.files.keys()


def test_every_file_is_verified(small: Path) -> None:
    names = {(found.runtime, found.compared) for found in verify_artifact(small)}
    assert names == {
        (runtime, compared)
        for runtime in ("onnx", "torchscript")
        for compared in ("query", "candidate", "recommendations", "fused")
    }


def test_the_files_are_smaller(small: Path, artifact: Path) -> None:
    def weights(folder: Path, name: str) -> int:
        graph = onnx.load(folder / name).graph
        return sum(len(tensor.raw_data) for tensor in graph.initializer)

    # Of tables so narrow, the scales are a large part, and the graph's own numbers are one, too.
    for name in ("query.onnx", "candidate.onnx"):
        assert weights(small, name) < 0.7 * weights(artifact, name)


def test_what_is_lost_is_measured(small: Path, trained: Trained) -> None:
    loss = report_of(small)["loss"]
    users = np.unique(trained.dataset.test.users)
    assert loss["queries"] == len(users)
    assert loss["candidates"] == len(trained.dataset.items)
    # Of so few items int8 changes the order of some, and the scores of all.
    assert 0.9 < loss["top_10_overlap"] <= 1
    assert 0 < loss["score_difference"] <= loss["largest_score_difference"]
    measured = kind_of(trained.config).measure(trained.config, trained.dataset, trained.model, "test")
    assert loss["trained"] == pytest.approx(measured)
    assert loss["exported"].keys() == loss["trained"].keys()
    assert loss["exported"] != loss["trained"]


def test_nothing_is_measured_where_nothing_is_smaller(artifact: Path) -> None:
    assert "loss" not in report_of(artifact)


def test_scored_again_nothing_is_lost(trained: Trained, tmp_path: Path) -> None:
    precision = Precision(index="int8", rescore=True, max_loss=0)
    export_artifact(trained, tmp_path / "a", ("onnx",), precision=precision)
    loss = report_of(tmp_path / "a")["loss"]
    assert (loss["top_10_overlap"], loss["top_100_overlap"]) == (1, 1)
    assert loss["largest_score_difference"] < 1e-5
    assert loss["exported"] == pytest.approx(loss["trained"])
    spec = Signature.read(tmp_path / "a").index
    assert spec is not None
    assert spec.rescoring is not None
    verify_artifact(tmp_path / "a")


@pytest.mark.parametrize("runtime", ["onnx", "torchscript"])
def test_an_archive_answers_as_the_artifact(small: Path, tmp_path: Path, runtime: str) -> None:
    archive = build_archive(
        small, name="tiny", export_path=tmp_path, runtime=runtime, archive_format="no-archive"
    )
    request = {"user_id": "1", "k": 5}
    answer = Recommender.load(archive).recommend(request)
    assert answer == Recommender.load(small, runtime=runtime).recommend(request)
    assert len(answer["items"]) == 5
    assert Signature.read(archive).weights == "int8"


def test_a_ranking_model(ranking_trained: Trained, ranking_artifact: Path, tmp_path: Path) -> None:
    out = tmp_path / "ranking"
    export_artifact(ranking_trained, out, precision=Precision("int8", max_loss=1))
    loss = report_of(out)["loss"]
    assert loss["queries"] == min(256, len(np.unique(ranking_trained.dataset.test.users)))
    assert loss["candidates"] == len(ranking_trained.dataset.items)
    assert 0.8 < loss["top_10_overlap"] <= 1
    assert 0 < loss["score_difference"] <= loss["largest_score_difference"]
    config, dataset = ranking_trained.config, ranking_trained.dataset
    measured = kind_of(config).measure(config, dataset, ranking_trained.model, "test")
    assert loss["trained"] == pytest.approx(measured)
    assert loss["exported"] != loss["trained"]
    body = {"user_id": "1", "candidates": ["1", "2", "3"]}
    smaller, whole = (CandidateRanker.load(folder).rank(body) for folder in (out, ranking_artifact))
    scores = [dict(zip(answer["items"], answer["scores"], strict=True)) for answer in (smaller, whole)]
    assert scores[0] == pytest.approx(scores[1], abs=0.1)
    assert scores[0] != scores[1]


def test_too_much_is_lost(trained: Trained, small: Path, tmp_path: Path) -> None:
    lost = 1 - report_of(small)["loss"]["top_10_overlap"]
    assert lost > 0
    with pytest.raises(
        LossError, match=r"at most 0\.00% are allowed; nothing was exported: export"
    ) as caught:
        export_artifact(trained, tmp_path / "a", ("onnx",), precision=replace(INT8, max_loss=0.0))
    assert 1 - caught.value.loss.top_10_overlap == pytest.approx(lost)
    assert caught.value.exit_code == 1
    assert not list(tmp_path.iterdir())


def test_either_overlap_can_be_too_small() -> None:
    loss = Loss(10, 100, 0.99, 0.94, 0.0, 0.0, {}, {})
    check_loss(loss, 0.07)
    with pytest.raises(LossError, match=r"best 100, 6\.00% are lost, over 10 test queries"):
        check_loss(loss, 0.05)
    with pytest.raises(LossError, match=r"best 10, 2\.00% are lost"):
        check_loss(replace(loss, top_10_overlap=0.98), 0.01)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": "int4"}, "weights: expected one of float32, float16, int8, got 'int4'"),
        ({"index": "float64"}, "index: expected one of float32, float16, int8, got 'float64'"),
        ({"rescore": True}, "only an int8 index is scored again, this one is float32: choose int8"),
        ({"max_loss": 1.5}, "max_loss: expected a share from 0 to 1, got 1.5"),
        ({"max_loss": float("nan")}, "max_loss: expected a share from 0 to 1, got nan"),
    ],
)
def test_options_that_cannot_be(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ExportError, match=message):
        Precision(**options)


def test_a_ranking_model_has_no_index(ranking_trained: Trained, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="a ranking model has no index: leave --index out"):
        export_artifact(ranking_trained, tmp_path / "a", precision=Precision(index="int8"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_a_value_beyond_its_rounding_is_found(trained: Trained, tmp_path: Path, dtype: str) -> None:
    out = tmp_path / "a"
    export_artifact(trained, out, ("onnx",), precision=Precision(index=dtype, max_loss=1))
    signature, dataset = Signature.read(out), trained.dataset
    embeddings = embed_candidates(trained.towers, dataset)
    check_stored(out, signature, dataset, embeddings, 1e-5)
    assert signature.index is not None
    path = out / signature.index.embeddings
    values = np.load(path)
    values[3, 1] += 1 if dtype == "int8" else values[3, 1] / 500
    np.save(path, values)
    with pytest.raises(VerificationError, match="the candidates' embeddings"):
        check_stored(out, signature, dataset, embeddings, 1e-5)


def test_by_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, table in tables().items():
        table.write_csv(tmp_path / f"{name}.csv")
    config = {
        "data": {**DATA, **{name: f"{name}.csv" for name in tables()}},
        "training": {"epochs": 1, "batch_size": 16, "threads": 1},
        "evaluation": {"accuracy_at": [3], "ranking_at": [3]},
        **CONFIGS["retrieval"],
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    run, out = tmp_path / "run", tmp_path / "artifact"
    assert main(["train", str(tmp_path / "config.yaml"), "--out", str(run)]) == 0
    command = ["export", str(run), "--out", str(out), "--format", "onnx", "--weights", "float16"]
    capsys.readouterr()
    assert main([*command, "--index", "int8", "--rescore", "--max-loss", "1"]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert any("of the best 10 and" in line and "scores differ by" in line for line in lines)
    assert lines[-1] == f"{out} is exported; what it loses is in its report.json"
    signature = Signature.read(out)
    assert signature.weights == "float16"
    assert signature.index is not None
    assert signature.index.rescoring == "index/rescoring.npy"
    assert main(["archive", "build", str(out), "--name", "small", "--export-path", str(tmp_path)]) == 0
    capsys.readouterr()
    assert main(["archive", "inspect", str(tmp_path / "small.mar"), "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert (content["weights"], content["index"]["dtype"]) == ("float16", "int8")
    assert main([*command, "--rescore"]) == 2
    assert "only an int8 index is scored again, this one is float32" in capsys.readouterr().err
