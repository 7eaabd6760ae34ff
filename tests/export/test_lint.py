import json
import pickle
import struct
import sys
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.export.archives import HANDLER, foreign, rewritten, unpacked
from torchtowers.cli.main import main
from torchtowers.export.archive import build_archive
from torchtowers.export.lint import lint_archive

onnx = pytest.importorskip("onnx", reason="needs onnx: pip install 'torchtowers[onnx]'")


def found(path: Path) -> set[tuple[str, str]]:
    return {(finding.name, finding.member) for finding in lint_archive(path)}


@pytest.mark.parametrize("form", ["default", "tgz", "no-archive"])
@pytest.mark.parametrize("runtime", ["onnx", "torchscript"])
def test_ours_have_nothing_to_complain_of(artifact: Path, tmp_path: Path, form: str, runtime: str) -> None:
    built = build_archive(artifact, name="m", export_path=tmp_path, archive_format=form, runtime=runtime)
    assert lint_archive(built) == []


def test_ranking_archives_have_nothing_to_complain_of(ranking_archives: Path) -> None:
    for path in ranking_archives.glob("*.mar"):
        assert lint_archive(path) == []


def test_the_smallest_foreign_archive_is_fine(tmp_path: Path) -> None:
    assert lint_archive(foreign(tmp_path / "m.mar", {})) == []


@pytest.mark.parametrize(
    ("source", "check"),
    [
        ("", "handler-class"),
        ("class A: ...\nclass B: ...\n", "handler-class"),
        ("class A:\n    def handle(self, data, context): ...\n", "handler-class"),
        ("def other(data, context): ...\n", "handler-class"),
        ("class A(\n", "handler-syntax"),
        ("\0", "handler-syntax"),
    ],
)
def test_more_than_one_or_no_handler_class(tmp_path: Path, source: str, check: str) -> None:
    assert found(foreign(tmp_path / "m.mar", {"m_handler.py": source})) == {(check, "m_handler.py")}


@pytest.mark.parametrize(
    "source",
    [
        HANDLER,
        "from ts.torch_handler.base_handler import BaseHandler\nclass A(BaseHandler): ...\n",
        "def handle(data, context): ...\n",
        "async def handle(data, context): ...\n",
        "from elsewhere import handle\n",
    ],
)
def test_handlers_that_torchserve_loads(tmp_path: Path, source: str) -> None:
    assert found(foreign(tmp_path / "m.mar", {"m_handler.py": source})) == set()


def test_handlers_that_are_named_otherwise(tmp_path: Path) -> None:
    assert found(foreign(tmp_path / "m.mar", {}, handler="gone.py")) == {("no-handler", "gone.py")}
    source = {"mod.py": "def run(data, context): ...\n"}
    assert found(foreign(tmp_path / "m.mar", source, handler="mod:run")) == set()
    assert found(foreign(tmp_path / "m.mar", source, handler="mod:walk")) == {("handler-function", "mod.py")}
    assert found(foreign(tmp_path / "m.mar", {}, handler="text_classifier")) == {("no-model", "")}


@pytest.mark.parametrize(
    "name",
    [
        "utils.py",
        "service.py",
        "context.py",
        "metrics/__init__.py",
        "version.py",
        "ts/__init__.py",
        "json.py",
        "logging/__init__.py",
        "numpy.py",
        "torch/__init__.py",
        "yaml.py",
    ],
)
def test_names_that_shadow_modules(tmp_path: Path, name: str) -> None:
    assert found(foreign(tmp_path / "m.mar", {name: ""})) == {("shadowed-module", name)}


def test_torchserves_own_modules_are_all_known() -> None:
    ts = pytest.importorskip("ts", reason="needs torchserve: pip install 'torchtowers[serve]'")
    from torchtowers.export.lint_names import _TORCHSERVE

    folder = Path(ts.__path__[0])
    modules = {path.stem for path in folder.glob("*.py")} | {
        path.parent.name for path in folder.glob("*/*.py")
    }
    assert modules - {"__init__", "ts"} <= _TORCHSERVE


def test_names_deep_inside_shadow_nothing(tmp_path: Path) -> None:
    assert (
        found(foreign(tmp_path / "m.mar", {"pkg/utils.py": "", "utils.json": "", "pkg/json/x.py": ""}))
        == set()
    )


def test_names_that_collide(tmp_path: Path) -> None:
    files = dict.fromkeys(("Vocab.json", "vocab.json", "a", "a/b", "\u00e9.txt", "e\u0301.txt"), "")
    assert found(foreign(tmp_path / "m.mar", files)) == {
        ("colliding-names", "vocab.json"),
        ("colliding-names", "a"),
        ("colliding-names", "e\u0301.txt"),
    }


def onnx_file(location: str | None) -> bytes:
    """Make a model of one operator, with its weights inside or in another file."""
    weights = onnx.numpy_helper.from_array(np.ones((2, 2), np.float32), "w")
    if location is not None:
        weights.ClearField("raw_data")
        weights.data_location = onnx.TensorProto.EXTERNAL
        weights.external_data.add(key="location", value=location)
    kind = onnx.TensorProto.FLOAT
    inputs, outputs = (onnx.helper.make_tensor_value_info(name, kind, [2, 2]) for name in "xy")
    node = onnx.helper.make_node("MatMul", ["x", "w"], ["y"])
    graph = onnx.helper.make_graph([node], "g", [inputs], [outputs], [weights])
    content: bytes = onnx.helper.make_model(graph).SerializeToString()
    return content


def test_a_missing_side_file_of_onnx(tmp_path: Path) -> None:
    given: dict[str, str | bytes] = {"m.onnx": onnx_file("m.onnx.data")}
    path = foreign(tmp_path / "m.mar", given, serializedFile="m.onnx")
    assert found(path) == {("missing-onnx-side-file", "m.onnx")}
    (finding,) = lint_archive(path)
    assert "m.onnx.data" in finding.text
    path = foreign(tmp_path / "m.mar", {**given, "m.onnx.data": bytes(16)}, serializedFile="m.onnx")
    assert found(path) == set()
    assert found(foreign(tmp_path / "m.mar", {"m.onnx": onnx_file(None)}, serializedFile="m.onnx")) == set()


@pytest.mark.parametrize(
    ("text", "check"),
    [
        ("minWorkers: [1\n", "invalid-yaml"),
        (b"\xff\xfe\x00", "invalid-yaml"),
        ("batchsize: 8\n", "unknown-config-key"),
        ("batchSize: eight\n", "mistyped-config-key"),
        ("- a\n", "mistyped-config-key"),
        ("torchtowers: {max_k: many}\n", "mistyped-config-key"),
        ("torchtowers: {precision: half}\n", "mistyped-config-key"),
        ("torchtowers: {max_answer_bytes: 9000000}\n", "over-server-limit"),
    ],
)
def test_configurations_that_torchserve_would_pass_over(
    tmp_path: Path, text: str | bytes, check: str
) -> None:
    path = foreign(tmp_path / "m.mar", {"c.yaml": text}, configFile="c.yaml")
    assert found(path) == {(check, "c.yaml")}


def test_what_the_manifest_names_is_there(tmp_path: Path) -> None:
    for key in ("serializedFile", "modelFile", "configFile", "requirementsFile"):
        assert found(foreign(tmp_path / "m.mar", {}, **{key: "gone"})) == {("missing-file", "gone")}


@pytest.mark.parametrize(
    "manifest", ["", "{", "[]", "{}", '{"model": 3}', '{"model": {}, "runtime": "python"}']
)
def test_manifests_that_are_none(tmp_path: Path, manifest: str) -> None:
    path = foreign(tmp_path / "m.mar", {"MAR-INF/MANIFEST.json": manifest})
    assert ("manifest", "MAR-INF/MANIFEST.json") in found(path)


def saved(path: Path, value: object) -> bytes:
    torch.save(value, path)
    return path.read_bytes()


def test_pickles_inside(tmp_path: Path) -> None:
    np.save(tmp_path / "o.npy", np.array([{}], dtype=object), allow_pickle=True)
    np.save(tmp_path / "f.npy", np.ones(3))
    files: dict[str, str | bytes] = {
        "ids.pkl": pickle.dumps({"a": 1}, protocol=0),
        "data/ids.bin": pickle.dumps({"a": 1}),
        "harmless.txt": pickle.dumps([1, 2], protocol=2),
        "weights.pth": saved(tmp_path / "w", {"w": torch.ones(2)}),
        "objects.npy": (tmp_path / "o.npy").read_bytes(),
        "floats.npy": (tmp_path / "f.npy").read_bytes(),
    }
    assert found(foreign(tmp_path / "m.mar", files)) == {
        ("pickle", name) for name in files if name != "floats.npy"
    }


def scripted(path: Path) -> bytes:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), str(path))
    return path.read_bytes()


def test_runtimes_and_files_that_do_not_match(tmp_path: Path, archives: Path) -> None:
    script, weights = scripted(tmp_path / "s"), saved(tmp_path / "w", torch.ones(2))
    path = tmp_path / "m.mar"
    assert found(foreign(path, {"m.pt": script}, serializedFile="m.pt")) == set()
    assert found(foreign(path, {"m.pt": script}, serializedFile="m.pt", handler="image_classifier")) == set()
    assert ("runtime-mismatch", "m.pt") in found(foreign(path, {"m.pt": weights}, serializedFile="m.pt"))
    assert found(foreign(path, {"m.onnx": b"no protobuf"}, serializedFile="m.onnx")) == {
        ("runtime-mismatch", "m.onnx")
    }
    built_in = foreign(path, {"m.onnx": onnx_file(None)}, serializedFile="m.onnx", handler="base_handler")
    assert found(built_in) == {("runtime-mismatch", "m.onnx")}
    ours = archives / "tiny-onnx.mar"
    with zipfile.ZipFile(ours) as archive:
        manifest = json.loads(archive.read("MAR-INF/MANIFEST.json"))
    manifest["model"]["serializedFile"] = "signature.json"
    copy = rewritten(ours, path, {"MAR-INF/MANIFEST.json": json.dumps(manifest).encode()})
    assert found(copy) == {("runtime-mismatch", "signature.json")}


def test_sizes_beyond_what_can_be_unpacked(tmp_path: Path) -> None:
    path = foreign(tmp_path / "m.mar", {f"{'x' * 256}.txt": "", "big": "x" * 1000})
    assert ("too-large", f"{'x' * 80}") in found(path)
    folder = unpacked(foreign(tmp_path / "n.mar", {}), tmp_path / "folder")
    with (folder / "sparse.npy").open("wb") as file:
        file.truncate(65 << 30)
    assert found(folder) == {("too-large", "")}


def test_stored_members_whose_size_comes_behind_them(tmp_path: Path) -> None:
    """What a zip file has that was written to a pipe."""

    class Pipe:
        def __init__(self, path: Path) -> None:
            self.file = path.open("wb")

        def write(self, data: bytes) -> int:
            return self.file.write(data)

        def flush(self) -> None:
            self.file.flush()

    pipe = Pipe(tmp_path / "m.mar")
    with zipfile.ZipFile(pipe, "w") as archive:  # type: ignore[call-overload]
        archive.writestr("a", "content")
    pipe.file.close()
    assert ("unreadable-by-server", "a") in found(tmp_path / "m.mar")


def test_an_encrypted_member(tmp_path: Path) -> None:
    path = foreign(tmp_path / "m.mar", {"a": "content"})
    content = bytearray(path.read_bytes())
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        struct.pack_into("<H", content, content.find(mark) + at, 1)
    path.write_bytes(content)
    assert ("encrypted", "m_handler.py") in found(path)


def test_what_is_no_archive(tmp_path: Path) -> None:
    (tmp_path / "m.mar").write_text("no zip file")
    (tmp_path / "m.tar.gz").write_text("no tar file")
    (tmp_path / "empty").mkdir()
    for name in ("m.mar", "m.tar.gz", "gone.mar"):
        assert found(tmp_path / name) == {("unreadable", "")}
    assert ("manifest", "MAR-INF/MANIFEST.json") in found(tmp_path / "empty")


def test_the_command_prints_findings_and_exits_1_for_errors(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = foreign(tmp_path / "m.mar", {"json.py": ""})
    assert main(["archive", "lint", str(path)]) == 1
    assert capsys.readouterr().out.startswith(
        "error: shadowed-module: json.py: it hides the standard library's"
    )
    assert main(["archive", "lint", str(path), "--json"]) == 1
    (finding,) = json.loads(capsys.readouterr().out)
    assert set(finding) == {"name", "member", "text", "kind"}
    only_warned = {"c.yaml": "torchtowers: {max_answer_bytes: 9000000}\n"}
    assert main(["archive", "lint", str(foreign(path, only_warned, configFile="c.yaml"))]) == 0
    assert capsys.readouterr().out.startswith("warning: over-server-limit: c.yaml: ")


def test_an_archive_that_needs_onnx_is_linted_without_it(
    archives: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    (finding,) = lint_archive(archives / "tiny-onnx.mar")
    assert (finding.name, finding.kind) == ("onnx-not-checked", "warning")
