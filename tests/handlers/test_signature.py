"""signature.json: comes back as it was written, and is refused when anything about it is wrong."""

import errno
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from tests.handlers.small import examples, json_values, small_signature
from torchtowers.handlers.errors import ArtifactError, SignatureError
from torchtowers.handlers.signature import FILE_NAME, Signature, sha256_of


def content_of(artifact: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((artifact / FILE_NAME).read_text())
    return content


def with_files(folder: Path) -> Signature:
    """Write a file for each that the small signature uses, and give the signature with their sha256."""
    signature = small_signature()
    for name in signature.used_files():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"content of {name}")
    return replace(signature, files={name: sha256_of(folder / name) for name in signature.used_files()})


def test_sha256_of(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    assert sha256_of(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_comes_back_as_it_was_written(tmp_path: Path) -> None:
    signature = with_files(tmp_path)
    signature.write(tmp_path)
    assert Signature.read(tmp_path) == signature
    assert Signature.read(tmp_path).to_text() == (tmp_path / FILE_NAME).read_text()


def test_that_of_an_artifact_comes_back_as_it_was_written(artifact: Path) -> None:
    signature = Signature.read(artifact)
    assert signature.to_text() == (artifact / FILE_NAME).read_text()
    assert signature.candidate is not None
    assert [spec.name for spec in signature.query.features] == ["user_id", "age", "gender", "history"]
    assert [spec.is_list for spec in signature.query.features] == [False, False, False, True]
    assert set(signature.towers) == {"onnx", "torchscript"}


def test_names_the_files_that_it_uses() -> None:
    assert small_signature().used_files() == {
        "query.onnx",
        "index/embeddings.npy",
        "index/ids.bytes.npy",
        "index/ids.offsets.npy",
        "index/ids.slots.npy",
        "columns/title.bytes.npy",
        "columns/title.offsets.npy",
        "filters/title.codes.npy",
        "filters/title.distinct.bytes.npy",
        "filters/title.distinct.offsets.npy",
        "encoders/user_id.bytes.npy",
        "encoders/user_id.offsets.npy",
        "encoders/user_id.slots.npy",
        "encoders/item_id.bytes.npy",
        "encoders/item_id.offsets.npy",
        "encoders/item_id.slots.npy",
        "lookup/age.values.npy",
        "lookup/history.values.npy",
        "lookup/history.offsets.npy",
    }


def test_uses_all_files_of_an_artifact_but_its_report_bills_and_handler(artifact: Path) -> None:
    signature = Signature.read(artifact)
    others = signature.files.keys() - signature.used_files()
    package = {name for name in others if name.startswith("torchtowers/handlers/")}
    assert "torchtowers/handlers/base.py" in package
    bills = {"bills/onnx.cdx.json", "bills/torchscript.cdx.json"}
    assert others - package == {"report.json", "retrieval_handler.py", "verification.safetensors"} | bills
    signature.verify_files(artifact)


@pytest.mark.parametrize("runtime", ["onnx", "torchscript"])
def test_for_serving_keeps_one_query_tower(artifact: Path, runtime: str) -> None:
    complete = Signature.read(artifact)
    serving = complete.for_serving(runtime)
    assert serving.towers == {runtime: {"query": complete.towers[runtime]["query"]}}
    assert serving.candidate is None
    assert serving.onnx_opset == (complete.onnx_opset if runtime == "onnx" else None)
    assert serving.files.keys() == serving.used_files()
    assert "encoders/genres.bytes.npy" not in serving.files
    serving.verify_files(artifact)


def test_for_serving_names_the_runtimes_that_there_are() -> None:
    with pytest.raises(
        ArtifactError, match="no torchscript tower, only onnx; export it with --format torchscript"
    ):
        small_signature().for_serving("torchscript")


@pytest.mark.parametrize("name", sorted(small_signature().used_files()))
def test_notices_each_altered_or_missing_file(tmp_path: Path, name: str) -> None:
    signature = with_files(tmp_path)
    signature.verify_files(tmp_path)
    (tmp_path / name).write_text(f"content of {name}.")
    with pytest.raises(ArtifactError, match=f"{name} in {tmp_path.name} was altered"):
        signature.verify_files(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(ArtifactError, match=f"{name} is missing from {tmp_path.name}"):
        signature.verify_files(tmp_path)


def test_names_a_file_that_can_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    signature = with_files(tmp_path)
    unreadable = tmp_path / "query.onnx"
    opened = Path.open

    def refuse(path: Path, *arguments: Any) -> Any:
        if path == unreadable:  # tests may run as root, who may read everything
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return opened(path, *arguments)

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(
        ArtifactError, match=f"^query.onnx in {tmp_path.name} can't be read .Permission denied"
    ):
        signature.verify_files(tmp_path)


@pytest.mark.parametrize("name", sorted(small_signature().used_files()))
def test_refuses_a_used_file_without_a_sha256(tmp_path: Path, name: str) -> None:
    signature = with_files(tmp_path)
    listed = {file: sha for file, sha in signature.files.items() if file != name}
    with pytest.raises(SignatureError, match=f"no sha256 for {name}"):
        replace(signature, files=listed).verify_files(tmp_path)


@pytest.mark.parametrize("version", [0, 2, 99])
def test_refuses_an_unknown_format_version(artifact: Path, version: int) -> None:
    content = content_of(artifact) | {"format_version": version}
    with pytest.raises(SignatureError, match=f"format version {version}, this code reads 1"):
        Signature.from_json(content)


@pytest.mark.parametrize("content", [None, [], "signature", 1, {}, {"format_version": True}])
def test_refuses_what_is_no_signature(content: object) -> None:
    with pytest.raises(SignatureError, match=r"signature(\.format_version)? in signature.json"):
        Signature.from_json(content)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "can't be read"),
        (b'{"format_version": 1', "can't be read"),
        (b"\xff\xfe", "can't be read"),
        (b'{"a":' * 100_000, "can't be read"),
        (b"[1]", "has to be an object"),
    ],
)
def test_refuses_a_file_that_is_no_json(tmp_path: Path, text: bytes, message: str) -> None:
    (tmp_path / FILE_NAME).write_bytes(text)
    with pytest.raises(SignatureError, match=message):
        Signature.read(tmp_path)


def test_refuses_a_folder_without_one(tmp_path: Path) -> None:
    with pytest.raises(SignatureError, match="it is not an artifact"):
        Signature.read(tmp_path)


OUTSIDE = ["../query.onnx", "a/../../b", "/etc/passwd", "..", "", ".", "a\\..\\b", "a\0b"]


def _set(content: dict[str, Any], path: str, value: object) -> None:
    *parents, last = path.split(".")
    for parent in parents:
        content = content[int(parent) if isinstance(content, list) else parent]
    content[last] = value


@pytest.mark.parametrize("path", OUTSIDE)
@pytest.mark.parametrize(
    "place",
    [
        "index.embeddings",
        "index.ids",
        "columns.title.text",
        "columns.title.filter",
        "towers.onnx.query",
        "towers.torchscript.candidate",
        "query.lookup.age",
        "query.features.0.encoder.vocabulary",
        "candidate.features.0.encoder.vocabulary",
    ],
)
def test_refuses_a_path_outside_the_artifact(artifact: Path, place: str, path: str) -> None:
    content = content_of(artifact)
    _set(content, place, path)
    with pytest.raises(SignatureError, match="names a file outside the artifact"):
        Signature.from_json(content)


@pytest.mark.parametrize("path", OUTSIDE)
def test_refuses_a_listed_file_outside_the_artifact(artifact: Path, path: str) -> None:
    content = content_of(artifact)
    content["files"][path] = "0" * 64
    with pytest.raises(SignatureError, match="names a file outside the artifact"):
        Signature.from_json(content)


@pytest.mark.parametrize(
    ("place", "value", "named"),
    [
        ("kind", None, "signature.kind"),
        ("query", [], "signature.query"),
        ("query.key", 5, "signature.query.key"),
        ("query.features", {}, "signature.query.features"),
        ("query.features.0.name", None, r"signature.query.features\[0\].name"),
        ("query.features.1.shape", "batch", r"signature.query.features\[1\].shape"),
        ("query.features.1.encoder", "token", r"signature.query.features\[1\].encoder"),
        ("query.features.0.encoder.vocabulary", 7, r"signature.query.features\[0\].encoder.vocabulary"),
        ("query.features.0.required", 1, r"signature.query.features\[0\].required"),
        ("query.lookup.age", None, "signature.query.lookup.age"),
        ("candidate.key", None, "signature.candidate.key"),
        ("candidate", "none", "signature.candidate"),
        ("history", 1, "signature.history"),
        ("index", None, "signature.index"),
        ("index.size", True, "signature.index.size"),
        ("index.dimension", "9", "signature.index.dimension"),
        ("index.exact", 1, "signature.index.exact"),
        ("columns.title", ["columns/title"], "signature.columns.title"),
        ("columns.title.text", None, "signature.columns.title.text"),
        ("columns.title.kind", "words", "signature.columns.title.kind"),
        ("columns.title.list", 1, "signature.columns.title.list"),
        ("towers", [], "signature.towers"),
        ("towers.onnx", "query.onnx", "signature.towers.onnx"),
        ("towers.onnx", {}, "signature.towers.onnx.query"),
        ("towers.onnx", {"query": "q.onnx", "candidate": 1}, "signature.towers.onnx.candidate"),
        ("onnx_opset", "18", "signature.onnx_opset"),
        ("versions.torch", 2.9, "signature.versions.torch"),
        ("files", None, "signature.files"),
    ],
)
def test_names_the_place_that_is_wrong(artifact: Path, place: str, value: object, named: str) -> None:
    content = content_of(artifact)
    _set(content, place, value)
    with pytest.raises(SignatureError, match=f"^{named} in signature.json") as caught:
        Signature.from_json(content)
    assert "\n" not in str(caught.value)


def _every_place(content: Any, set_here: Callable[[Any], None]) -> list[Callable[[Any], None]]:
    """Give for each value in `content` a function that replaces it there."""
    places = [set_here]
    for name, value in content.items() if isinstance(content, dict) else enumerate(content):
        if isinstance(value, dict | list):
            places += _every_place(value, lambda new, c=content, n=name: c.__setitem__(n, new))  # type: ignore[misc]
        else:
            places.append(lambda new, c=content, n=name: c.__setitem__(n, new))  # type: ignore[misc]
    return places


@examples(5)
@given(value=json_values)
def test_any_value_anywhere_is_read_or_refused(artifact: Path, value: object) -> None:
    count = len(_every_place(content_of(artifact), lambda new: None))
    refused = 0
    for place in range(1, count):
        content = content_of(artifact)
        _every_place(content, lambda new: None)[place](value)
        try:
            Signature.from_json(content)
        except SignatureError:
            refused += 1
    assert refused > count // 5
