import json
from pathlib import Path

import pytest

from tests.export.archives import foreign
from torchtowers.cli.main import main
from torchtowers.export.archive import build_archive
from torchtowers.export.inspection import difference, inspect_archive
from torchtowers.export.model_config import ServingConfig
from torchtowers.export.signing import generate_key
from torchtowers.handlers.errors import ArtifactError
from torchtowers.handlers.signature import sha256_of


def test_what_is_in_an_archive(artifact: Path, tmp_path: Path) -> None:
    key = generate_key(tmp_path / "key")
    path = build_archive(artifact, name="m", version="2.1", export_path=tmp_path, sign=tmp_path / "key")
    content = inspect_archive(path)
    assert json.loads(json.dumps(content)) == content
    assert content["sha256"] == sha256_of(path)
    assert (content["model"]["modelName"], content["model"]["modelVersion"]) == ("m", "2.1")
    assert content["kind"] == "retrieval"
    assert content["towers"] == {"onnx": {"query": "query.onnx"}}
    assert set(content["features"]["query"]) == {"user_id", "age", "gender", "history"}
    assert content["features"]["query"]["age"]["encoder"]["kind"] == "buckets"
    assert content["index"]["size"] == 60
    assert content["columns"] == ["genres", "title", "year"]
    assert {"python", "torch", "torchtowers"} <= set(content["versions"])
    assert {"numpy", "onnxruntime"} <= set(content["packages"])
    assert content["config"]["batchSize"] == 32
    assert content["manifest_signed_by"] == content["file_signed_by"] == key
    assert content["members"]["query.onnx"] == {
        "bytes": (artifact / "query.onnx").stat().st_size,
        "sha256": sha256_of(artifact / "query.onnx"),
    }


@pytest.mark.parametrize("form", ["tgz", "no-archive"])
def test_every_form_holds_the_same(archives: Path, artifact: Path, tmp_path: Path, form: str) -> None:
    path = build_archive(artifact, name="tiny-onnx", export_path=tmp_path, archive_format=form)
    assert difference(inspect_archive(archives / "tiny-onnx.mar"), inspect_archive(path)) == {}


def test_foreign_archives_show_what_they_have(tmp_path: Path) -> None:
    content = inspect_archive(foreign(tmp_path / "m.mar", {"c.yaml": "batchSize: 3\n"}, configFile="c.yaml"))
    assert content["config"] == {"batchSize": 3}
    assert set(content["members"]) == {"m_handler.py", "c.yaml", "MAR-INF/MANIFEST.json"}
    assert not {"kind", "features", "index"} & set(content)


def test_a_foreign_configuration_that_is_no_yaml_is_refused(tmp_path: Path) -> None:
    path = foreign(tmp_path / "m.mar", {"c.yaml": "[1\n"}, configFile="c.yaml")
    with pytest.raises(ArtifactError, match=r"c\.yaml is no YAML"):
        inspect_archive(path)


def test_the_difference_goes_down_to_members_and_settings(
    artifact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = build_archive(artifact, name="m", export_path=tmp_path / "1")
    config = ServingConfig(batch_size=64)
    second = build_archive(
        artifact, name="m", export_path=tmp_path / "2", runtime="torchscript", config=config
    )
    found = difference(inspect_archive(first), inspect_archive(second))
    assert found["config.batchSize"] == (32, 64)
    assert found["model.serializedFile"] == ("query.onnx", "query.pt")
    assert found["members.query.pt"][0] is None
    assert found["members.query.onnx"][1] is None
    assert found["onnx_opset"] == (18, None)
    assert "packages.torch" in found
    assert not [place for place in found if place.startswith(("members.index/", "features.", "sha256"))]
    assert main(["archive", "diff", str(first), str(second), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["config.batchSize"] == {"a": 32, "b": 64}
    assert main(["archive", "diff", str(first), str(first)]) == 0
    assert capsys.readouterr().out == ""


def test_the_difference_names_features(archives: Path, ranking_archives: Path) -> None:
    found = difference(
        inspect_archive(archives / "tiny-onnx.mar"), inspect_archive(ranking_archives / "ranking-onnx.mar")
    )
    assert found["kind"] == ("retrieval", "ranking")
    assert any(place.startswith("features.candidate.") for place in found)


def test_the_command_shows_a_table_and_json(archives: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = archives / "tiny-onnx.mar"
    assert main(["archive", "inspect", str(path)]) == 0
    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert lines["features.query.age"] == "number, buckets"
    assert lines["index.size"] == "60"
    assert main(["archive", "inspect", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == inspect_archive(path)
    assert main(["archive", "inspect", str(path.parent / "gone.mar")]) == 2
