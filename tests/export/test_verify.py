"""What was tampered with is told by `verify_archive`, and refused by a worker."""

import hashlib
import io
import json
import stat
import struct
import sys
import tarfile
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.export.archives import contents_of, foreign, rewritten, tar_of, unpacked
from torchtowers.cli.main import main
from torchtowers.export.archive import build_archive
from torchtowers.export.resigning import sign_archive
from torchtowers.export.signing import generate_key
from torchtowers.export.verify import verify_archive
from torchtowers.handlers.errors import ArtifactError, SignatureError, TowersError, UntrustedError
from torchtowers.handlers.retrieval_handler import RetrievalHandler
from torchtowers.handlers.seal import MANIFEST, MANIFEST_SIGNATURE, PUBLIC_KEY


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the keys `release` and `other`."""
    folder = tmp_path_factory.mktemp("keys")
    for name in ("release", "other"):
        generate_key(folder / name)
    return folder


@pytest.fixture(scope="module")
def signed(artifact: Path, keys: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A signed archive with its `.sig`; not to be changed."""
    return build_archive(
        artifact, name="m", export_path=tmp_path_factory.mktemp("signed"), sign=keys / "release"
    )


def load(folder: Path) -> RetrievalHandler:
    """Load an unpacked archive as a worker does."""
    handler = RetrievalHandler()
    handler.initialize(SimpleNamespace(system_properties={"model_dir": str(folder)}))
    return handler


def names(path: Path, public_key: Path | None = None) -> set[tuple[str, str]]:
    return {(finding.name, finding.member) for finding in verify_archive(path, public_key)}


@pytest.mark.parametrize("form", ["default", "zip-store", "tgz", "no-archive"])
def test_every_form_is_what_was_built_and_loads_where_a_key_is_configured(
    artifact: Path, keys: Path, tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = build_archive(
        artifact, name="m", export_path=tmp_path / "store", archive_format=form, sign=keys / "release"
    )
    assert verify_archive(built, keys / "release.pub") == []
    monkeypatch.setenv(PUBLIC_KEY, str(keys / "release.pub"))
    load(built if built.is_dir() else unpacked(built, tmp_path / "model"))


def test_one_flipped_byte_in_each_member_is_found_and_refused(
    signed: Path, keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PUBLIC_KEY, str(keys / "release.pub"))
    members = contents_of(signed)
    assert len(members) > 40
    folder = unpacked(signed, tmp_path / "model")
    load(folder)
    for name, content in members.items():
        for place in {0, len(content) // 2, len(content) - 1}:
            changed = bytearray(content)
            changed[place] ^= 1
            copy = rewritten(signed, tmp_path / "copy.mar", {name: bytes(changed)})
            found = {member for _, member in names(copy, keys / "release.pub")}
            assert found & {name, "", MANIFEST_SIGNATURE}, (name, place)
            if place == len(content) // 2:
                (folder / name).write_bytes(changed)
                with pytest.raises(TowersError):
                    load(folder)
        (folder / name).write_bytes(content)
    load(folder)


def test_one_flipped_byte_anywhere_in_the_file_is_found(signed: Path, keys: Path, tmp_path: Path) -> None:
    content = signed.read_bytes()
    copy = tmp_path / signed.name
    (tmp_path / f"{signed.name}.sig").write_bytes(Path(f"{signed}.sig").read_bytes())
    for place in range(0, len(content), len(content) // 60):
        changed = bytearray(content)
        changed[place] ^= 0x10
        copy.write_bytes(changed)
        assert verify_archive(copy, keys / "release.pub"), place


@pytest.mark.parametrize("kept", [0, 1, 100, 0.5, 0.999])
def test_a_truncated_archive_is_refused(signed: Path, tmp_path: Path, kept: float) -> None:
    content = signed.read_bytes()
    copy = tmp_path / "m.mar"
    copy.write_bytes(content[: int(kept * len(content)) if isinstance(kept, float) else kept])
    assert names(copy) == {("unreadable", "")}
    assert main(["archive", "verify", str(copy)]) == 1


def test_a_truncated_tar_is_refused(artifact: Path, tmp_path: Path) -> None:
    built = build_archive(artifact, name="m", export_path=tmp_path, archive_format="tgz")
    content = built.read_bytes()
    for kept in (0, 5, len(content) // 2, len(content) - 4):
        built.write_bytes(content[:kept])
        assert verify_archive(built), kept


def test_wrong_and_missing_signatures(signed: Path, archives: Path, keys: Path, tmp_path: Path) -> None:
    (finding, beside) = verify_archive(signed, keys / "other.pub")
    assert (finding.name, beside.name) == ("untrusted", "untrusted")
    assert "which is not trusted here; trusted: " in finding.text
    (finding,) = verify_archive(archives / "tiny-onnx.mar", keys / "release.pub")
    assert finding.text.startswith("the archive is not signed: MAR-INF/MANIFEST.json.sig is missing")
    with pytest.raises(ArtifactError, match=r"public key .* can't be read"):
        verify_archive(signed, tmp_path / "nowhere.pub")
    assert main(["archive", "verify", str(signed), "--public-key", str(keys / "other.pub")]) == 1
    assert main(["archive", "verify", str(signed), "--public-key", str(tmp_path / "nowhere.pub")]) == 2


def test_the_signature_of_another_archive(artifact: Path, signed: Path, keys: Path, tmp_path: Path) -> None:
    other = build_archive(artifact, name="other", export_path=tmp_path, sign=keys / "release")
    (tmp_path / "other.mar.sig").write_bytes(Path(f"{signed}.sig").read_bytes())
    (finding,) = verify_archive(other, keys / "release.pub")
    assert (finding.name, finding.member) == ("untrusted", "other.mar.sig")
    assert "the signature is of another archive" in finding.text
    inside = contents_of(signed)[MANIFEST_SIGNATURE]
    copy = rewritten(other, tmp_path / "copy.mar", {MANIFEST_SIGNATURE: inside})
    (finding,) = verify_archive(copy, keys / "release.pub")
    assert "the signature is of another manifest" in finding.text
    # Nor does the signature of a file pass for that of a manifest.
    copy = rewritten(signed, tmp_path / "copy.mar", {MANIFEST_SIGNATURE: Path(f"{signed}.sig").read_bytes()})
    assert names(copy, keys / "release.pub") == {("untrusted", MANIFEST_SIGNATURE)}


def forged(text: bytes, **changed: object) -> bytes:
    return json.dumps({**json.loads(text), **changed}).encode()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"format_version": 2}, "of format version 2 and 'ed25519'|of format version 2 and ed25519"),
        ({"algorithm": "none"}, "and none, this code"),
        ({"signature": "AAAA"}, "the signature is wrong"),
        ({"signature": None}, "the signature is wrong"),
        ({"key": None}, "is no JSON as"),
    ],
)
def test_a_forged_signature(
    signed: Path,
    keys: Path,
    tmp_path: Path,
    changed: dict[str, object],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = forged(contents_of(signed)[MANIFEST_SIGNATURE], **changed)
    copy = rewritten(signed, tmp_path / "copy.mar", {MANIFEST_SIGNATURE: text})
    assert names(copy, keys / "release.pub") == {("untrusted", MANIFEST_SIGNATURE)}
    monkeypatch.setenv(PUBLIC_KEY, str(keys / "release.pub"))
    with pytest.raises(UntrustedError, match=said):
        load(unpacked(copy, tmp_path / "model"))


def test_a_worker_wants_the_configured_key(
    signed: Path, archives: Path, keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = unpacked(signed, tmp_path / "model")
    monkeypatch.setenv(PUBLIC_KEY, str(keys / "other.pub"))
    with pytest.raises(UntrustedError, match=r"not trusted here.*TORCHTOWERS_PUBLIC_KEY is .*other\.pub"):
        load(folder)
    monkeypatch.setenv(PUBLIC_KEY, str(tmp_path / "nowhere.pub"))
    with pytest.raises(ArtifactError, match=r"nowhere\.pub can't be read"):
        load(folder)
    monkeypatch.setenv(PUBLIC_KEY, str(keys / "release.pub"))
    with pytest.raises(UntrustedError, match="the archive is not signed"):
        load(unpacked(archives / "tiny-onnx.mar", tmp_path / "unsigned"))
    (folder / MANIFEST).unlink()
    with pytest.raises(UntrustedError, match=r"MANIFEST\.json is missing"):
        load(folder)


def test_a_worker_without_the_library_refuses_rather_than_trusts(
    signed: Path, keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.serialization", None)
    folder = unpacked(signed, tmp_path / "model")
    load(folder)
    monkeypatch.setenv(PUBLIC_KEY, str(keys / "release.pub"))
    with pytest.raises(TowersError, match="checking signatures needs cryptography"):
        load(folder)


def test_code_that_was_added_or_left_out_is_refused_and_logs_are_not(signed: Path, tmp_path: Path) -> None:
    folder = unpacked(signed, tmp_path / "model")
    (folder / "worker.log").write_text("a worker's folder is its working directory")
    (folder / "torchtowers/handlers/__pycache__").mkdir()
    (folder / "torchtowers/handlers/__pycache__/base.cpython-311.pyc").write_bytes(b"")
    load(folder)
    (folder / "numpy.py").write_text("")
    with pytest.raises(ArtifactError, match=r"numpy\.py is not in MAR-INF/MANIFEST\.json: it was added"):
        load(folder)
    (folder / "numpy.py").unlink()
    (folder / "torchtowers/handlers/hashing.py").unlink()
    with pytest.raises(ArtifactError, match=r"hashing\.py is missing from the archive"):
        load(folder)
    added = rewritten(signed, tmp_path / "copy.mar", {"numpy.py": b""})
    assert names(added) == {("shadowed-module", "numpy.py")}
    assert names(rewritten(signed, tmp_path / "copy.mar", {"note.txt": b""})) == {("unlisted", "note.txt")}
    assert ("missing-file", "query.onnx") in names(
        rewritten(signed, tmp_path / "copy.mar", {"query.onnx": None})
    )


def sealed_again(path: Path, target: Path, changed: dict[str, bytes]) -> Path:
    """Change members and their hashes in the manifest, as one would who can build archives and not sign."""
    manifest = json.loads(contents_of(path)[MANIFEST])
    for name, content in changed.items():
        manifest["torchtowers"]["members"][name] = hashlib.sha256(content).hexdigest()
    return rewritten(path, target, {**changed, MANIFEST: json.dumps(manifest).encode()})


def test_a_signature_json_of_an_unknown_version(archives: Path, tmp_path: Path) -> None:
    path = archives / "tiny-onnx.mar"
    text = json.dumps({**json.loads(contents_of(path)["signature.json"]), "format_version": 99}).encode()
    copy = sealed_again(path, tmp_path / "copy.mar", {"signature.json": text})
    (finding,) = verify_archive(copy)
    assert (finding.name, finding.member) == ("signature", "signature.json")
    assert "format version 99" in finding.text
    with pytest.raises(SignatureError, match="format version 99, this code reads 1"):
        load(unpacked(copy, tmp_path / "model"))


def test_weights_that_do_not_fit_the_signature(
    archives: Path, signed: Path, keys: Path, tmp_path: Path
) -> None:
    weights = contents_of(archives / "tiny-torchscript.mar")["query.pt"]
    copy = sealed_again(signed, tmp_path / "copy.mar", {"query.onnx": weights})
    assert names(copy) == {("altered", "query.onnx")}
    with pytest.raises(
        ArtifactError, match=r"query\.onnx in model was altered: its sha256 is not the signature"
    ):
        load(unpacked(copy, tmp_path / "model"))
    assert ("untrusted", MANIFEST_SIGNATURE) in names(copy, keys / "release.pub")


@pytest.mark.parametrize("name", ["../up.py", "/etc/up.py", "a/../../up.py", "..\\up.py", "C:up.py", "a\0b"])
def test_path_traversal_is_found_and_nothing_written(tmp_path: Path, name: str) -> None:
    path = foreign(tmp_path / "m.mar", {})
    with zipfile.ZipFile(path, "a") as archive:
        info = zipfile.ZipInfo("placeholder")
        info.filename = name
        archive.writestr(info, "x")
    before = sorted(tmp_path.rglob("*"))
    assert ("unsafe-path", name) in names(path)
    assert sorted(tmp_path.rglob("*")) == before


def test_links_and_devices_are_found(tmp_path: Path) -> None:
    path = foreign(tmp_path / "m.mar", {})
    with zipfile.ZipFile(path, "a") as archive:
        info = zipfile.ZipInfo("weights.pt")
        info.create_system = 3
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    assert ("link", "weights.pt") in names(path)
    kinds = {"sym": tarfile.SYMTYPE, "hard": tarfile.LNKTYPE, "fifo": tarfile.FIFOTYPE}
    members = []
    for name, kind in kinds.items():
        member = tarfile.TarInfo(f"m/{name}")
        member.type, member.linkname = kind, "/etc/passwd"
        members.append(member)
    found = names(
        tar_of(tmp_path / "m.tar.gz", *members, tarfile.TarInfo("m/../../up"), tarfile.TarInfo("/abs"))
    )
    assert {("link", name) for name in kinds} <= found
    assert {("unsafe-path", "../../up"), ("unsafe-path", "/abs")} <= found
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "weights.pt").symlink_to("/etc/passwd")
    assert ("link", "weights.pt") in names(folder)


def test_duplicate_members_are_found(signed: Path, tmp_path: Path) -> None:
    copy = tmp_path / "m.mar"
    copy.write_bytes(signed.read_bytes())
    with zipfile.ZipFile(copy, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("query.onnx", b"other")
    assert ("colliding-names", "query.onnx") in names(copy)


def test_a_zip_bomb_is_told_without_unpacking_it(tmp_path: Path) -> None:
    path = tmp_path / "m.mar"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(50_000_000))
    assert ("zip-bomb", "zeros") in names(path)
    # One that lies about its size: it is read no further than that, and the checksum tells.
    content = bytearray(path.read_bytes())
    for at in (content.find(b"PK\x03\x04") + 22, content.find(b"PK\x01\x02") + 24):
        struct.pack_into("<I", content, at, 1000)
    path.write_bytes(content)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.infolist()[0].file_size == 1000
    foreign_copy = tmp_path / "lying.mar"
    foreign_copy.write_bytes(content)
    assert verify_archive(foreign_copy)


def test_members_that_the_directory_does_not_name_are_found(signed: Path, tmp_path: Path) -> None:
    """A stream's reader, such as the server, would take the hidden one."""
    hidden = io.BytesIO()
    with zipfile.ZipFile(hidden, "w") as archive:
        archive.writestr("retrieval_handler.py", b"import os")
    local = hidden.getvalue()[: hidden.getvalue().find(b"PK\x01\x02")]
    copy = tmp_path / "m.mar"
    copy.write_bytes(local + signed.read_bytes())
    with zipfile.ZipFile(copy) as archive:
        assert archive.testzip() is None
    assert {name for name, _ in names(copy)} == {"hidden-content"}
    # In the middle, where a shifted directory names all but it.
    content = signed.read_bytes()
    start = content.rfind(b"PK\x05\x06")
    at = struct.unpack_from("<I", content, start + 16)[0]
    end = bytearray(content[start:])
    struct.pack_into("<I", end, 16, at + len(local))
    copy.write_bytes(content[:at] + local + content[at:start] + end)
    assert {name for name, _ in names(copy)} == {"hidden-content"}


def test_an_archive_of_another_tool_is_trusted_as_a_whole_file_only(keys: Path, tmp_path: Path) -> None:
    path = foreign(tmp_path / "m.mar", {"weights.bin": b"x"})
    assert names(path) == {("no-hashes", MANIFEST)}
    assert names(path, keys / "release.pub") == {("no-hashes", MANIFEST)}
    assert sign_archive(path, keys / "release") == [tmp_path / "m.mar.sig"]
    assert names(path, keys / "release.pub") == set()
    path.write_bytes(foreign(tmp_path / "other.mar", {"weights.bin": b"y"}).read_bytes())
    assert names(path, keys / "release.pub") == {("untrusted", "m.mar.sig")}
