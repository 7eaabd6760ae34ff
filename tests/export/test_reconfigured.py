"""Archives with other settings: what they would be if they had been built with them."""

import json
from pathlib import Path

import pytest
import yaml

from tests.export.archives import contents_of, foreign, rewritten
from torchtowers.cli.main import main
from torchtowers.export.archive import build_archive
from torchtowers.export.errors import ExportError
from torchtowers.export.lint import lint_archive
from torchtowers.export.model_config import ServingConfig
from torchtowers.export.reconfigured import configure_archive
from torchtowers.export.signing import generate_key
from torchtowers.export.verify import verify_archive
from torchtowers.handlers.errors import ArtifactError

FORMS = ["default", "tgz", "no-archive"]


def written(folder: Path, **changed: object) -> Path:
    path = folder / "tuned.yaml"
    content = yaml.safe_load(ServingConfig(workers=2, batch_size=8).to_yaml())
    path.write_text(yaml.safe_dump({**content, **changed}))
    return path


def files_of(path: Path) -> dict[str, bytes]:
    return {
        file.relative_to(path).as_posix(): file.read_bytes() for file in path.rglob("*") if file.is_file()
    }


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("signed", [False, True])
def test_other_settings_give_the_bytes_of_building_with_them(
    artifact: Path, tmp_path: Path, form: str, signed: bool
) -> None:
    config = written(tmp_path)
    generate_key(tmp_path / "key")
    key = tmp_path / "key" if signed else None
    build_archive(
        artifact, name="a", export_path=tmp_path / "1", archive_format=form, config=config, sign=key
    )
    later = build_archive(artifact, name="a", export_path=tmp_path / "2", archive_format=form)
    assert files_of(tmp_path / "1") != files_of(tmp_path / "2")
    done = configure_archive(later, config, sign=key)
    assert (done.path, done.lost_signature) == (later, False)
    assert files_of(tmp_path / "1") == files_of(tmp_path / "2")
    assert verify_archive(later, tmp_path / "key.pub" if signed else None) == []
    assert [finding for finding in lint_archive(later) if finding.kind == "error"] == []


def test_a_signature_is_lost_and_told_of(artifact: Path, tmp_path: Path) -> None:
    generate_key(tmp_path / "key")
    store = tmp_path / "store"
    path = build_archive(artifact, name="a", export_path=store, sign=tmp_path / "key")
    copy = configure_archive(path, written(tmp_path), tmp_path / "copy.mar")
    assert copy.lost_signature
    assert len(list(store.iterdir())) == 2
    assert verify_archive(path, tmp_path / "key.pub") == []
    assert configure_archive(path, written(tmp_path)).lost_signature
    assert [file.name for file in store.iterdir()] == ["a.mar"]
    assert "MAR-INF/MANIFEST.json.sig" not in contents_of(path)
    assert verify_archive(path) == []


def test_the_form_may_change(artifact: Path, tmp_path: Path) -> None:
    folder = build_archive(artifact, name="a", export_path=tmp_path, archive_format="no-archive")
    copy = configure_archive(folder, written(tmp_path), tmp_path / "a.mar").path
    assert verify_archive(copy) == []
    built = build_archive(artifact, name="a", export_path=tmp_path / "b", config=written(tmp_path))
    assert copy.read_bytes() == built.read_bytes()


def test_what_another_tool_built_keeps_its_files_and_its_own_keys(tmp_path: Path) -> None:
    path = foreign(tmp_path / "m.mar", {"extra/data.txt": "data"})
    config = written(tmp_path, mine={"a": 1})
    before = contents_of(path)
    configure_archive(path, config)
    after = contents_of(path)
    assert after.pop("model-config.yaml") == config.read_bytes()
    manifest = json.loads(after.pop("MAR-INF/MANIFEST.json"))
    assert manifest["model"]["configFile"] == "model-config.yaml"
    del before["MAR-INF/MANIFEST.json"]
    assert after == before
    generate_key(tmp_path / "key")
    configure_archive(path, config, sign=tmp_path / "key")
    assert (tmp_path / "m.mar.sig").exists()
    folder = tmp_path / "folder"
    (folder / "MAR-INF").mkdir(parents=True)
    (folder / "MAR-INF" / "MANIFEST.json").write_text('{"model": {"configFile": "c.yaml"}}')
    with pytest.raises(ExportError, match="folder has no hashes to sign"):
        configure_archive(folder, config, sign=tmp_path / "key")
    configure_archive(folder, config)
    assert (folder / "c.yaml").read_bytes() == config.read_bytes()
    (folder / "link").symlink_to("c.yaml")
    with pytest.raises(ExportError, match="link is a link"):
        configure_archive(folder, config)
    assert (folder / "link").is_symlink()


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"batchsize": 3}, r"batchsize: TorchServe passes over it in silence; did you mean batchSize\?"),
        ({"batchSize": 0}, "batchSize: expected an integer of at least 1, got 0"),
        ({"torchtowers": {"thread": 1}}, r"torchtowers\.thread in model-config\.yaml: unknown"),
        ({"torchtowers": {"threads": 0}}, r"torchtowers\.threads: expected a positive integer, got 0"),
    ],
)
def test_settings_that_would_be_refused_or_passed_over(
    artifact: Path, tmp_path: Path, changed: dict[str, object], told: str
) -> None:
    path = build_archive(artifact, name="a", export_path=tmp_path)
    before = path.read_bytes()
    config = written(tmp_path, **changed)
    with pytest.raises(ExportError, match=f"tuned.yaml: {told}"):
        configure_archive(path, config)
    with pytest.raises(ExportError, match=f"tuned.yaml: {told}"):
        build_archive(artifact, name="b", export_path=tmp_path, config=config)
    assert path.read_bytes() == before
    assert not (tmp_path / "b.mar").exists()


def test_a_file_that_is_none(archives: Path, tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    with pytest.raises(ExportError, match=r"c\.yaml can't be read: No such file"):
        configure_archive(archives / "tiny-onnx.mar", config, tmp_path / "a.mar")
    config.write_text("{")
    with pytest.raises(ExportError, match=r"c\.yaml is no YAML"):
        configure_archive(archives / "tiny-onnx.mar", config, tmp_path / "a.mar")
    config.write_text("[1]")
    with pytest.raises(ExportError, match=r"c\.yaml: expected a mapping of keys, got list"):
        configure_archive(archives / "tiny-onnx.mar", config, tmp_path / "a.mar")
    config.write_text("")
    configure_archive(archives / "tiny-onnx.mar", config, tmp_path / "a.mar")
    assert contents_of(tmp_path / "a.mar")["model-config.yaml"] == b""
    with pytest.raises(ArtifactError, match="no such archive"):
        configure_archive(tmp_path / "none.mar", config)


def test_an_altered_archive_gets_no_new_seal(archives: Path, tmp_path: Path) -> None:
    path = rewritten(archives / "tiny-onnx.mar", tmp_path / "a.mar", {"query.onnx": b"another"})
    before = path.read_bytes()
    with pytest.raises(ExportError, match=r"a\.mar is left as it is: query\.onnx: its sha256 is not"):
        configure_archive(path, written(tmp_path))
    assert path.read_bytes() == before


def test_the_commands(artifact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = written(tmp_path)
    generate_key(tmp_path / "key")
    build = ["archive", "build", str(artifact), "--name", "a", "--export-path", str(tmp_path)]
    assert main([*build, "--config", str(config), "--workers", "3"]) == 2
    assert "--config has all settings: change it there, and leave out --workers" in capsys.readouterr().err
    assert main([*build, "--config", str(config), "--device-id", "3"]) == 2
    assert "leave out --device-id" in capsys.readouterr().err
    assert main([*build, "--config", str(config)]) == 0
    built = (tmp_path / "a.mar").read_bytes()
    assert main([*build, "--workers", "3", "--force", "--sign", str(tmp_path / "key")]) == 0
    assert b"minWorkers: 3" in (tmp_path / "a.mar").read_bytes()
    capsys.readouterr()
    assert main(["archive", "configure", str(tmp_path / "a.mar"), "--config", str(config)]) == 0
    assert (tmp_path / "a.mar").read_bytes() == built
    told = capsys.readouterr()
    assert told.out == f"{tmp_path / 'a.mar'}\n"
    assert "was signed and is not any more" in told.err
