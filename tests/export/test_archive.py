import hashlib
import json
import re
import shutil
import string
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import torchtowers.handlers
from tests.export.test_stored_zip import read_as_stream
from torchtowers.export import layouts
from torchtowers.export.archive import build_archive
from torchtowers.export.errors import ExportError
from torchtowers.export.model_config import ServingConfig
from torchtowers.handlers.errors import ArtifactError
from torchtowers.handlers.signature import FORMAT_VERSION, Signature

RUNTIMES = {"onnx": "query.onnx", "torchscript": "query.pt"}


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_archive_is_laid_out_as_torchserve_reads_it(archives: Path, runtime: str) -> None:
    members = read_as_stream((archives / f"tiny-{runtime}.mar").read_bytes())
    manifest = json.loads(members["MAR-INF/MANIFEST.json"])
    assert manifest["runtime"] == "python"
    assert manifest["model"] == {
        "modelName": f"tiny-{runtime}",
        "modelVersion": "1.0",
        "serializedFile": RUNTIMES[runtime],
        "handler": "retrieval_handler.py",
        "configFile": "model-config.yaml",
    }
    for key in ("serializedFile", "handler", "configFile"):
        assert manifest["model"][key] in members
    assert re.fullmatch(r"\d\d/\d\d/\d{4} \d\d:\d\d:\d\d", manifest["createdOn"])
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in members.items()}
    del hashes["MAR-INF/MANIFEST.json"]
    assert manifest["torchtowers"]["members"] == hashes


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_archive_holds_one_query_tower_and_all_that_serving_needs(
    archives: Path, artifact: Path, runtime: str
) -> None:
    members = read_as_stream((archives / f"tiny-{runtime}.mar").read_bytes())
    towers = {name for name in members if name.endswith((".pt", ".onnx", ".pt2"))}
    assert towers == {RUNTIMES[runtime]}
    signature = Signature.from_json(json.loads(members["signature.json"]))
    assert json.loads(members["signature.json"])["format_version"] == FORMAT_VERSION
    assert signature.candidate is None
    assert set(signature.files) == signature.used_files() <= set(members)
    for name in signature.files:
        assert members[name] == (artifact / name).read_bytes()


def test_handlers_package_is_vendored_whole(archives: Path) -> None:
    members = read_as_stream((archives / "tiny-onnx.mar").read_bytes())
    package = Path(torchtowers.handlers.__path__[0])
    ours = {path.relative_to(package).as_posix(): path for path in package.rglob("*.py")}
    assert {"__init__.py", "base.py", "recommender.py", "signature.py"} <= set(ours)
    vendored = {f"torchtowers/handlers/{name}" for name in ours if not name.endswith("_handler.py")}
    assert {name for name in members if name.startswith("torchtowers/")} == vendored
    for name, path in ours.items():
        if not name.endswith("_handler.py"):
            assert members[f"torchtowers/handlers/{name}"] == path.read_bytes()
    assert members["retrieval_handler.py"] == ours["retrieval_handler.py"].read_bytes()
    assert "ranking_handler.py" not in members


@pytest.mark.parametrize(("runtime", "file"), [("onnx", "ranker.onnx"), ("torchscript", "ranker.pt")])
def test_an_archive_of_a_ranking_model_has_its_own_handler(
    ranking_archives: Path, ranking_artifact: Path, runtime: str, file: str
) -> None:
    members = read_as_stream((ranking_archives / f"ranking-{runtime}.mar").read_bytes())
    model = json.loads(members["MAR-INF/MANIFEST.json"])["model"]
    assert (model["handler"], model["serializedFile"]) == ("ranking_handler.py", file)
    assert [name for name in members if name.endswith("_handler.py")] == ["ranking_handler.py"]
    assert [name for name in members if name.endswith((".pt", ".onnx"))] == [file]
    signature = Signature.from_json(json.loads(members["signature.json"]))
    assert signature.candidate is not None
    assert set(signature.files) == signature.used_files() <= set(members)
    for name in signature.files:
        assert members[name] == (ranking_artifact / name).read_bytes()


def test_configuration_is_the_one_given(artifact: Path, tmp_path: Path) -> None:
    config = ServingConfig(workers=2, batch_size=5, max_k=99)
    path = build_archive(artifact, name="a", export_path=tmp_path, config=config)
    with zipfile.ZipFile(path) as archive:
        assert archive.read("model-config.yaml").decode() == config.to_yaml()
        assert yaml.safe_load(archive.read("model-config.yaml"))["batchSize"] == 5


_FIRST = string.ascii_letters + string.digits
_VALID = st.builds(str.__add__, st.sampled_from(_FIRST), st.text(_FIRST + "_.-", max_size=30))


@settings(deadline=None, max_examples=15)
@given(name=_VALID, version=_VALID)
def test_every_valid_name_and_version_stands_in_the_archive(artifact: Path, name: str, version: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = build_archive(artifact, name=name, version=version, export_path=folder)
        assert path == Path(folder) / f"{name}.mar"
        model = json.loads(read_as_stream(path.read_bytes())["MAR-INF/MANIFEST.json"])["model"]
        assert (model["modelName"], model["modelVersion"]) == (name, version)
        assert [found.name for found in Path(folder).iterdir()] == [f"{name}.mar"]


@settings(deadline=None)
@given(
    wrong=st.text(max_size=10).filter(lambda text: not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.\-]*", text))
    | st.sampled_from(["../up", "a/b", "a b", "name\n", ".hidden", "-x", "", "naïve"]),
    what=st.sampled_from(["name", "version"]),
)
def test_every_other_name_or_version_is_refused_and_nothing_written(
    artifact: Path, wrong: str, what: str
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        arguments: dict[str, Any] = {"name": "a", what: wrong}
        with pytest.raises(ExportError, match=f"^{what} .*: expected letters, digits"):
            build_archive(artifact, export_path=Path(folder) / "store", **arguments)
        assert not list(Path(folder).iterdir())


def test_other_content_under_the_name_is_kept_unless_forced(artifact: Path, tmp_path: Path) -> None:
    path = build_archive(artifact, name="a", export_path=tmp_path)
    first = path.read_bytes()
    assert build_archive(artifact, name="a", export_path=tmp_path) == path  # the same content is no conflict
    with pytest.raises(ExportError, match=r"a\.mar exists with other content: replace it with --force"):
        build_archive(artifact, name="a", version="2.0", export_path=tmp_path)
    assert path.read_bytes() == first
    build_archive(artifact, name="a", version="2.0", export_path=tmp_path, force=True)
    assert path.read_bytes() != first
    assert [found.name for found in tmp_path.iterdir()] == ["a.mar"]


def test_altered_artifact_is_refused(artifact: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(artifact, tmp_path / "copy"))
    content = bytearray((copy / "query.onnx").read_bytes())
    content[-1] ^= 1
    (copy / "query.onnx").write_bytes(content)
    with pytest.raises(ArtifactError, match=r"query\.onnx was altered"):
        build_archive(copy, name="a", export_path=tmp_path / "store")
    assert not list((tmp_path / "store").iterdir())


def test_runtime_that_the_artifact_lacks_is_refused(artifact: Path, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="the artifact has no pt2 tower, only onnx, torchscript"):
        build_archive(artifact, name="a", export_path=tmp_path, runtime="pt2")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), MemoryError(), OSError(28, "No space left on device")]
)
def test_failure_while_writing_leaves_nothing_and_keeps_the_earlier_archive(
    artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    path = build_archive(artifact, name="a", export_path=tmp_path)
    before = path.read_bytes()

    def fail(file: Any, *_: Any) -> None:
        file.write(b"half of it")
        raise error

    monkeypatch.setattr(layouts, "write_zip", fail)
    with pytest.raises(ExportError if isinstance(error, OSError) else type(error)):
        build_archive(artifact, name="a", version="2.0", export_path=tmp_path, force=True)
    assert path.read_bytes() == before
    assert [found.name for found in tmp_path.iterdir()] == ["a.mar"]


def test_source_date_epoch_is_the_time_that_is_written(
    artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    path = build_archive(artifact, name="a", export_path=tmp_path)
    with zipfile.ZipFile(path) as archive:
        assert {info.date_time for info in archive.infolist()} == {(2023, 11, 14, 22, 13, 20)}
        assert json.loads(archive.read("MAR-INF/MANIFEST.json"))["createdOn"] == "14/11/2023 22:13:20"
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")  # before a zip file's first year
    with zipfile.ZipFile(build_archive(artifact, name="b", export_path=tmp_path)) as archive:
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


@pytest.mark.parametrize("epoch", ["yesterday", "1e9", "99999999999", "9" * 30])
def test_source_date_epoch_that_no_zip_can_hold_is_refused(
    artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, epoch: str
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", epoch)
    with pytest.raises(ExportError, match=r"^SOURCE_DATE_EPOCH: "):
        build_archive(artifact, name="a", export_path=tmp_path)
    assert not list(tmp_path.iterdir())
