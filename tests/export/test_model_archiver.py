"""The artifact's folder through the real torch-model-archiver, beside our own archive of it."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.export.archives import contents_of, unpacked
from tests.handlers.served import runtime_of
from torchtowers.export.archive import BILL, build_archive
from torchtowers.export.lint import lint_archive
from torchtowers.export.model_config import ServingConfig
from torchtowers.handlers.candidate_ranker import CandidateRanker
from torchtowers.handlers.errors import ArtifactError
from torchtowers.handlers.recommender import Recommender
from torchtowers.handlers.seal import MANIFEST
from torchtowers.handlers.signature import FILE_NAME
from torchtowers.handlers.two_stage_recommender import TwoStageRecommender

pytest.importorskip("model_archiver", reason="needs torch-model-archiver: pip install 'torchtowers[serve]'")

ARCHIVER = Path(sys.executable).with_name("torch-model-archiver")
ENDS = {"default": ".mar", "zip-store": ".mar", "tgz": ".tar.gz", "no-archive": ""}


def packaged(
    artifact: Path,
    store: Path,
    *,
    serialized: str = "query.onnx",
    kind: str = "retrieval",
    form: str = "default",
) -> Path:
    """Run the command that README and docs tell of."""
    store.mkdir(exist_ok=True)
    private = store.parent / "archiver-tmp"
    private.mkdir(exist_ok=True)
    command = [
        *(str(ARCHIVER), "--model-name", "m", "--version", "1.0"),
        *("--serialized-file", f"{artifact}/{serialized}", "--handler", f"{artifact}/{kind}_handler.py"),
        *("--config-file", f"{artifact}/model-config.yaml", "--extra-files", str(artifact)),
        *("--export-path", str(store), "--archive-format", form),
    ]
    # It stages in TMPDIR/NAME, which it removes first.
    environment = {**os.environ, "TMPDIR": str(private)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return store / f"m{ENDS[form]}"


@pytest.mark.parametrize("runtime", ["onnx", "torchscript"])
def test_it_holds_all_that_ours_holds_byte_for_byte(artifact: Path, tmp_path: Path, runtime: str) -> None:
    serialized = {"onnx": "query.onnx", "torchscript": "query.pt"}[runtime]
    theirs = contents_of(packaged(artifact, tmp_path / "theirs", serialized=serialized))
    ours = contents_of(build_archive(artifact, name="m", export_path=tmp_path / "ours", runtime=runtime))
    made = {MANIFEST, BILL, FILE_NAME}
    assert ours.keys() - made <= theirs.keys()
    assert {name for name in ours.keys() - made if ours[name] != theirs[name]} == set()
    assert theirs[FILE_NAME] == (artifact / FILE_NAME).read_bytes()
    assert theirs[f"bills/{runtime}.cdx.json"] == ours[BILL]
    manifests = [json.loads(content[MANIFEST]) for content in (ours, theirs)]
    assert manifests[0]["model"] == manifests[1]["model"]
    assert {manifest["archiverVersion"] for manifest in manifests} == {"0.12.0"}
    assert manifests[0].keys() - manifests[1].keys() == {"torchtowers"}
    # And no file of the artifact is lost.
    files = {path.relative_to(artifact).as_posix() for path in artifact.rglob("*") if path.is_file()}
    assert files == theirs.keys() - {MANIFEST}


@pytest.mark.parametrize("form", ENDS)
def test_every_form_of_both_tools_answers_the_same(artifact: Path, tmp_path: Path, form: str) -> None:
    theirs = packaged(artifact, tmp_path / "theirs", form=form)
    ours = build_archive(artifact, name="m", export_path=tmp_path / "ours", archive_format=form)
    assert theirs.name == ours.name
    assert [finding for finding in lint_archive(theirs) if finding.kind == "error"] == []
    models = []
    for number, path in enumerate((ours, theirs)):
        folder = path if path.is_dir() else unpacked(path, tmp_path / f"unpacked-{number}")
        models.append(Recommender.load(folder))
    for body in ({"user_id": "u3", "k": 60}, {"user_id": "stranger", "age": 33, "fields": ["title"]}):
        assert models[0].recommend(body) == models[1].recommend(body)


@pytest.mark.parametrize("runtime", ["onnx", "torchscript"])
def test_the_serialized_file_chooses_the_runtime(artifact: Path, tmp_path: Path, runtime: str) -> None:
    serialized = {"onnx": "query.onnx", "torchscript": "query.pt"}[runtime]
    path = packaged(artifact, tmp_path / "theirs", serialized=serialized)
    model = Recommender.load(unpacked(path, tmp_path / "model"))
    assert runtime_of(model) == runtime
    assert runtime_of(Recommender.load(tmp_path / "model", runtime="onnx")) == "onnx"


def test_a_ranking_model_is_packaged_likewise(ranking_artifact: Path, tmp_path: Path) -> None:
    path = packaged(ranking_artifact, tmp_path / "theirs", serialized="ranker.onnx", kind="ranking")
    ours = build_archive(ranking_artifact, name="m", export_path=tmp_path / "ours")
    body = {"user_id": "u3", "candidates": ["100", "101", "102"]}
    answers = [
        CandidateRanker.load(unpacked(built, tmp_path / built.parent.name / "x")).rank(body)
        for built in (path, ours)
    ]
    assert answers[0] == answers[1]


@pytest.mark.parametrize("runtime", ["onnx", "torchscript"])
def test_two_models_are_packaged_likewise(combined_artifact: Path, tmp_path: Path, runtime: str) -> None:
    serialized = {"onnx": "query.onnx", "torchscript": "query.pt"}[runtime]
    path = packaged(combined_artifact, tmp_path / "theirs", serialized=serialized, kind="recommendation")
    assert [finding for finding in lint_archive(path) if finding.kind == "error"] == []
    ours = build_archive(combined_artifact, name="m", export_path=tmp_path / "ours", runtime=runtime)
    models = [
        TwoStageRecommender.load(unpacked(built, tmp_path / built.parent.name / "x"))
        for built in (path, ours)
    ]
    assert [runtime_of(model.recommender) for model in models] == [runtime, runtime]
    body = {"user_id": "u3", "k": 5, "fields": ["title"]}
    assert models[0].recommend(body) == models[1].recommend(body)
    files = {path.relative_to(combined_artifact).as_posix() for path in combined_artifact.rglob("*.*")}
    assert contents_of(path).keys() - {MANIFEST} <= files


def test_settings_of_ones_own_do_not_count_as_an_altered_artifact(artifact: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(artifact, tmp_path / "copy"))
    (copy / "model-config.yaml").write_text(ServingConfig(batch_size=4).to_yaml())
    folder = unpacked(packaged(copy, tmp_path / "theirs"), tmp_path / "model")
    assert "batchSize: 4" in (folder / "model-config.yaml").read_text()
    Recommender.load(folder)
    handler = folder / "torchtowers/handlers/base.py"
    handler.write_text(handler.read_text() + "\n")
    with pytest.raises(ArtifactError, match=r"base\.py in model was altered"):
        Recommender.load(folder)


def test_it_differs_between_two_calls_where_ours_does_not(artifact: Path, tmp_path: Path) -> None:
    """Why there is a build of our own."""
    ours = [build_archive(artifact, name="m", export_path=tmp_path / name) for name in ("a", "b")]
    assert ours[0].read_bytes() == ours[1].read_bytes()
    with zipfile.ZipFile(packaged(artifact, tmp_path / "c")) as archive:
        assert {info.date_time[0] for info in archive.infolist()} != {1980}
