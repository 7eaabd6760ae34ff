import json
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from torchtowers.export.archive import build_archive
from torchtowers.export.errors import ExportError
from torchtowers.export.layouts import FORMATS
from torchtowers.handlers.errors import ArtifactError


def test_the_formats_are_those_of_torch_model_archiver() -> None:
    pytest.importorskip("model_archiver", reason="pip install 'torchtowers[serve]'")
    command = [sys.executable, "-m", "model_archiver.model_packaging", "--help"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    (choices,) = set(re.findall(r"--archive-format \{([\w,-]+)\}", shown))
    assert set(choices.split(",")) == set(FORMATS)


def test_an_unknown_format_is_refused(artifact: Path, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"archive format 'zip': expected one of default, zip-store, tgz"):
        build_archive(artifact, name="a", export_path=tmp_path, archive_format="zip")
    assert not list(tmp_path.iterdir())


def test_nothing_is_deflated_in_default_and_zip_store_alike(artifact: Path, tmp_path: Path) -> None:
    paths = [
        build_archive(artifact, name="a", export_path=tmp_path / form, archive_format=form)
        for form in ("default", "zip-store")
    ]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    with zipfile.ZipFile(paths[0]) as archive:
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}


def test_a_tar_has_one_folder_and_nothing_of_the_builder(artifact: Path, tmp_path: Path) -> None:
    path = build_archive(artifact, name="a", export_path=tmp_path, archive_format="tgz")
    with tarfile.open(path) as archive:
        members = archive.getmembers()
    assert {member.name.split("/")[0] for member in members} == {"a"}
    told = {(m.uid, m.gid, m.uname, m.gname, m.mode, m.mtime, m.isreg()) for m in members}
    assert told == {(0, 0, "", "", 0o644, 315532800, True)}
    assert path.stat().st_size > sum(member.size for member in members)


@pytest.mark.parametrize("form", FORMATS)
def test_other_content_under_the_name_is_kept_unless_forced(
    artifact: Path, tmp_path: Path, form: str
) -> None:
    def build(version: str, force: bool = False) -> Path:
        return build_archive(
            artifact,
            name="a",
            version=version,
            export_path=tmp_path,
            archive_format=form,
            force=force,
        )

    def content(path: Path) -> dict[str, bytes]:
        files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
        return {str(file): file.read_bytes() for file in files}

    path = build("1.0")
    before = content(path)
    assert build("1.0") == path
    with pytest.raises(ExportError, match="exists with other content: replace it with --force"):
        build("2.0")
    assert content(path) == before
    build("2.0", force=True)
    assert content(path) != before
    assert [found.name for found in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("form", FORMATS)
def test_a_failure_leaves_nothing_of_any_form(artifact: Path, tmp_path: Path, form: str) -> None:
    copy = Path(shutil.copytree(artifact, tmp_path / "copy"))
    (copy / "signature.json").chmod(0o644)
    (copy / "query.onnx").write_bytes(b"other")
    with pytest.raises(ArtifactError, match=r"query\.onnx was altered"):
        build_archive(copy, name="a", export_path=tmp_path / "store", archive_format=form)
    assert not list((tmp_path / "store").iterdir())


def test_an_artifact_without_its_handler_is_refused(artifact: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(artifact, tmp_path / "copy"))
    signature = json.loads((copy / "signature.json").read_text())
    del signature["files"]["retrieval_handler.py"]
    (copy / "signature.json").write_text(json.dumps(signature))
    with pytest.raises(ArtifactError, match=r"the artifact has no retrieval_handler\.py; export it again"):
        build_archive(copy, name="a", export_path=tmp_path / "store")


def test_a_file_in_the_store_s_place_is_told(artifact: Path, tmp_path: Path) -> None:
    (tmp_path / "store").write_text("")
    for form in FORMATS:
        with pytest.raises(ExportError, match="can't be written"):
            build_archive(artifact, name="a", export_path=tmp_path / "store", archive_format=form)
