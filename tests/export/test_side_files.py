"""Artifacts whose ONNX files have their weights beside them, from the archive to the worker."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest

from tests.export.archives import contents_of, rewritten, unpacked
from tests.export.test_archive_fused import assert_alike
from tests.export.test_model_archiver import packaged
from torchtowers.export.archive import build_archive
from torchtowers.export.lint import lint_archive
from torchtowers.export.onnx import save_onnx
from torchtowers.export.verify import verify_archive
from torchtowers.handlers.candidate_ranker import CandidateRanker
from torchtowers.handlers.errors import ArtifactError
from torchtowers.handlers.recommender import Recommender
from torchtowers.handlers.signature import Signature, sha256_of

BODY: dict[str, Any] = {"user_id": "u3", "k": 60}


def with_sides(artifact: Path, target: Path, *names: str) -> Path:
    """Copy an artifact and put the weights of its ONNX files beside them."""
    folder = Path(shutil.copytree(artifact, target))
    sides = []
    for name in names:
        model = onnx.load(folder / name)
        (folder / name).unlink()
        save_onnx(model, folder / name, largest=0)
        sides.append(f"{name}.data")
    signature = Signature.read(folder)
    files = {name: sha256_of(folder / name) for name in [*signature.files, *sides]}
    replace(signature, files=files).write(folder)
    return folder


@pytest.fixture(scope="module")
def large(fused_artifact: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return with_sides(
        fused_artifact, tmp_path_factory.mktemp("large") / "a", "query.onnx", "candidate.onnx", "fused.onnx"
    )


@pytest.mark.parametrize(("fused", "name"), [(False, "query.onnx"), (True, "fused.onnx")])
def test_the_archive_holds_them_and_the_worker_reads_them(
    large: Path, fused_artifact: Path, tmp_path: Path, fused: bool, name: str
) -> None:
    path = build_archive(large, name="m", export_path=tmp_path, fused=fused)
    assert {member for member in contents_of(path) if ".onnx" in member} == {name, f"{name}.data"}
    assert lint_archive(path) == verify_archive(path) == []
    folder = unpacked(path, tmp_path / "model")
    expected = Recommender.load(fused_artifact, runtime="onnx").recommend(BODY)
    assert_alike(Recommender.load(folder).recommend(BODY), expected)
    weights = bytearray((folder / f"{name}.data").read_bytes())
    weights[len(weights) // 2] ^= 1
    (folder / f"{name}.data").write_bytes(weights)
    with pytest.raises(ArtifactError, match=rf"{name}\.data was altered"):
        Recommender.load(folder)


@pytest.mark.parametrize("name", ["ranker.onnx", "fused.onnx"])
def test_so_do_those_of_a_ranking_model(fused_ranking_artifact: Path, tmp_path: Path, name: str) -> None:
    folder = with_sides(fused_ranking_artifact, tmp_path / "a", name)
    path = build_archive(folder, name="m", export_path=tmp_path, fused=name == "fused.onnx")
    body = {"user_id": "u3", "candidates": ["100", "what", "101"]}
    answer = CandidateRanker.load(unpacked(path, tmp_path / "model")).rank(body)
    assert_alike(answer, CandidateRanker.load(fused_ranking_artifact).rank(body))


@pytest.mark.parametrize("name", ["query.onnx", "fused.onnx"])
def test_torch_model_archiver_packages_them(large: Path, tmp_path: Path, name: str) -> None:
    path = packaged(large, tmp_path / "store", serialized=name)
    assert f"{name}.data" in contents_of(path)
    assert [finding for finding in lint_archive(path) if finding.kind == "error"] == []
    answer = Recommender.load(unpacked(path, tmp_path / "model")).recommend(BODY)
    assert_alike(answer, Recommender.load(large, runtime="onnx").recommend(BODY))


def test_one_that_is_missing_is_found_and_refused(large: Path, tmp_path: Path) -> None:
    path = build_archive(large, name="m", export_path=tmp_path)
    gone = rewritten(path, tmp_path / "gone.mar", {"query.onnx.data": None})
    found = {(finding.name, finding.member) for finding in lint_archive(gone)}
    assert ("missing-onnx-side-file", "query.onnx") in found
    with pytest.raises(ArtifactError, match=r"query\.onnx\.data is missing"):
        Recommender.load(unpacked(gone, tmp_path / "model"))


def pointed_to(large: Path, folder: Path, location: str) -> Path:
    """Copy an artifact whose weights are then said to be in `location`, and its signature to be right."""
    copy = Path(shutil.copytree(large, folder))
    model = onnx.load(copy / "query.onnx", load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = location
    (copy / "query.onnx").write_bytes(model.SerializeToString())
    signature = Signature.read(copy)
    files = {**signature.files, "query.onnx": sha256_of(copy / "query.onnx")}
    replace(signature, files=files).write(copy)
    return copy


@pytest.mark.parametrize("location", ["../w", "/etc/passwd", "index/embeddings.npy", "candidate.onnx.other"])
def test_weights_from_elsewhere_are_refused(large: Path, tmp_path: Path, location: str) -> None:
    copy = pointed_to(large, tmp_path / "copy", location)
    (tmp_path / "w").write_bytes((large / "query.onnx.data").read_bytes())
    (copy / "candidate.onnx.other").write_bytes((large / "query.onnx.data").read_bytes())
    with pytest.raises(ArtifactError, match=r"query\.onnx reads weights from .*which is no file beside it"):
        Recommender.load(copy, runtime="onnx")
    path = build_archive(copy, name="m", export_path=tmp_path)
    found = {finding.name for finding in lint_archive(path) if finding.kind == "error"}
    assert found >= ({"signature", "unsafe-path"} if location[:1] in "./" else {"signature"})
