import json
from pathlib import Path

import pytest

from tests.export.archives import contents_of, foreign, rewritten
from torchtowers.export.archive import build_archive
from torchtowers.handlers.errors import ArtifactError
from torchtowers.handlers.signature import Signature
from torchtowers.serving.demo_archive import described_files, unpack
from torchtowers.serving.errors import ServingError


@pytest.mark.parametrize("form", ["default", "zip-store", "tgz", "no-archive"])
def test_archives_of_every_form(artifact: Path, tmp_path: Path, form: str) -> None:
    archive = build_archive(artifact, name="m", export_path=tmp_path / "store", archive_format=form)
    (tmp_path / "own").mkdir()
    signature, folder = unpack(archive, tmp_path / "own")
    assert signature.kind == "retrieval"
    for name in described_files(signature):
        assert (folder / name).read_bytes() == (artifact / name).read_bytes()


def test_the_model_itself_is_left_where_it_is(archives: Path, tmp_path: Path) -> None:
    signature, folder = unpack(archives / "tiny-onnx.mar", tmp_path)
    there = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert there == {"signature.json", *described_files(signature)}
    assert isinstance(signature, Signature)
    assert signature.index is not None
    assert not there & {signature.served_file, signature.index.embeddings}


def test_a_fused_archive_has_items_only(fused_artifact: Path, tmp_path: Path) -> None:
    archive = build_archive(fused_artifact, name="m", export_path=tmp_path / "store", fused=True)
    (tmp_path / "own").mkdir()
    signature, _ = unpack(archive, tmp_path / "own")
    assert {Path(name).parts[0] for name in described_files(signature)} == {"columns", "filters", "index"}


def test_another_tools_archive(tmp_path: Path) -> None:
    with pytest.raises(ServingError, match=r"m\.mar holds no signature\.json: only models of"):
        unpack(foreign(tmp_path / "m.mar", {}), tmp_path)


@pytest.mark.parametrize("name", ["m.mar", "m.tar.gz"])
def test_what_is_no_archive(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(ServingError, match=f"{name}: can't be read"):
        unpack(tmp_path / name, tmp_path)


def test_an_altered_file_is_refused(archives: Path, tmp_path: Path) -> None:
    name = next(name for name in contents_of(archives / "tiny-onnx.mar") if name.startswith("columns/"))
    altered = rewritten(archives / "tiny-onnx.mar", tmp_path / "m.mar", {name: b"x"})
    (tmp_path / "own").mkdir()
    with pytest.raises(ArtifactError, match=f"{name} in m.mar was altered"):
        unpack(altered, tmp_path / "own")


def test_a_missing_file_is_named(archives: Path, tmp_path: Path) -> None:
    name = next(name for name in contents_of(archives / "tiny-onnx.mar") if name.startswith("columns/"))
    lacking = rewritten(archives / "tiny-onnx.mar", tmp_path / "m.mar", {name: None})
    (tmp_path / "own").mkdir()
    with pytest.raises(ArtifactError, match=f"{name} is missing from m.mar"):
        unpack(lacking, tmp_path / "own")


def test_no_file_is_written_outside(archives: Path, tmp_path: Path) -> None:
    content = json.loads(contents_of(archives / "tiny-onnx.mar")["signature.json"])
    content["query"]["ids"] = "../outside.json"
    escaping = {"signature.json": json.dumps(content).encode(), "../outside.json": b"[]"}
    archive = rewritten(archives / "tiny-onnx.mar", tmp_path / "m.mar", escaping)
    (tmp_path / "own").mkdir()
    with pytest.raises(ArtifactError, match="outside"):
        unpack(archive, tmp_path / "own")
    assert not (tmp_path / "outside.json").exists()
