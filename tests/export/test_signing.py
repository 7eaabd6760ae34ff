import stat
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from torchtowers.export.archive import build_archive
from torchtowers.export.errors import ExportError
from torchtowers.export.resigning import sign_archive
from torchtowers.export.signing import generate_key, read_private_key
from torchtowers.handlers.errors import ArtifactError
from torchtowers.handlers.signing import read_public_keys


def test_a_key_is_its_owners_alone_and_never_replaced(tmp_path: Path) -> None:
    key = tmp_path / "keys" / "release.key"
    name = generate_key(key)
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert list(read_public_keys(tmp_path / "keys" / "release.key.pub")) == [name]
    before = key.read_bytes()
    with pytest.raises(ExportError, match=r"release\.key exists: a key is never replaced"):
        generate_key(key)
    key.unlink()
    with pytest.raises(ExportError, match=r"release\.key\.pub exists"):
        generate_key(key)
    assert not key.exists()
    assert before.startswith(b"-----BEGIN PRIVATE KEY-----")


def test_several_public_keys_stand_in_one_file(tmp_path: Path) -> None:
    names = [generate_key(tmp_path / name) for name in ("a", "b")]
    both = tmp_path / "both.pub"
    both.write_bytes(
        (tmp_path / "a.pub").read_bytes() + b"# the new one\n" + (tmp_path / "b.pub").read_bytes()
    )
    assert list(read_public_keys(both)) == names


def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def test_what_is_no_key_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "key"
    with pytest.raises(ExportError, match=r"key can't be read: No such file.*archive keygen"):
        read_private_key(path)
    path.write_text("nonsense")
    with pytest.raises(ExportError, match="holds no private key in PEM"):
        read_private_key(path)
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    secret = serialization.BestAvailableEncryption(b"word")
    path.write_bytes(ed25519.Ed25519PrivateKey.generate().private_bytes(pem, pkcs8, secret))
    with pytest.raises(ExportError, match="is encrypted: decrypt it first"):
        read_private_key(path)
    path.write_bytes(rsa_key().private_bytes(pem, pkcs8, serialization.NoEncryption()))
    with pytest.raises(ExportError, match="expected one for Ed25519"):
        read_private_key(path)


def test_what_is_no_public_key_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "key.pub"
    with pytest.raises(ArtifactError, match=r"key\.pub can't be read: No such file"):
        read_public_keys(path)
    path.write_text("nonsense")
    with pytest.raises(ArtifactError, match="holds no public key: expected PEM"):
        read_public_keys(path)
    path.write_text("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n")
    with pytest.raises(ArtifactError, match="holds a public key that can't be read"):
        read_public_keys(path)
    pem, info = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    path.write_bytes(rsa_key().public_key().public_bytes(pem, info))
    with pytest.raises(ArtifactError, match="expected one for Ed25519"):
        read_public_keys(path)


@pytest.mark.parametrize("form", ["default", "tgz", "no-archive"])
def test_signing_afterwards_gives_the_bytes_of_building_signed(
    artifact: Path, tmp_path: Path, form: str
) -> None:
    generate_key(tmp_path / "key")
    at_once = build_archive(
        artifact, name="a", export_path=tmp_path / "1", archive_format=form, sign=tmp_path / "key"
    )
    later = build_archive(artifact, name="a", export_path=tmp_path / "2", archive_format=form)
    assert not list((tmp_path / "2").glob("*.sig"))
    sign_archive(later, tmp_path / "key")
    files = [path for path in (tmp_path / "1").rglob("*") if path.is_file()]
    assert len(files) == 2 or at_once.is_dir()
    for path in files:
        assert path.read_bytes() == (tmp_path / "2" / path.relative_to(tmp_path / "1")).read_bytes()


def test_an_unsigned_build_leaves_no_signature_of_the_one_before(artifact: Path, tmp_path: Path) -> None:
    generate_key(tmp_path / "key")
    build_archive(artifact, name="a", export_path=tmp_path / "s", sign=tmp_path / "key")
    build_archive(artifact, name="a", export_path=tmp_path / "s", force=True)
    assert [path.name for path in (tmp_path / "s").iterdir()] == ["a.mar"]


def test_an_altered_archive_is_not_signed(archives: Path, tmp_path: Path) -> None:
    generate_key(tmp_path / "key")
    content = bytearray((archives / "tiny-onnx.mar").read_bytes())
    content[len(content) // 2] ^= 1
    copy = tmp_path / "copy.mar"
    copy.write_bytes(content)
    with pytest.raises(ExportError, match=r"copy\.mar is not signed: .* is damaged"):
        sign_archive(copy, tmp_path / "key")
    assert copy.read_bytes() == content
    assert not (tmp_path / "copy.mar.sig").exists()


def test_building_needs_no_library_for_signing(artifact: Path, tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['cryptography'] = sys.modules['cyclonedx'] = None\n"
        "from pathlib import Path; from torchtowers.export import build_archive\n"
        f"build_archive({str(artifact)!r}, name='a', export_path={str(tmp_path)!r})\n"
        "from torchtowers.export.signing import generate_key\n"
        f"generate_key(Path({str(tmp_path / 'key')!r}))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "signing needs cryptography" in done.stderr.splitlines()[-1]
    assert "torchtowers[release]" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["a.mar"]
