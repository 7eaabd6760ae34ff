from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from tests.servers import free_ports_config, write_archive
from torchtowers.export.archive import build_archive
from torchtowers.export.signing import generate_key
from torchtowers.handlers.errors import ArtifactError, UntrustedError
from torchtowers.handlers.seal import PUBLIC_KEY
from torchtowers.handlers.signature import sha256_of
from torchtowers.handlers.signing import sign_statement
from torchtowers.serving import start
from torchtowers.serving.archives import choose_archives
from torchtowers.serving.errors import ServingError
from torchtowers.serving.trust import require_signed


@pytest.fixture
def key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ed25519.Ed25519PrivateKey:
    """A key that the environment tells to trust."""
    made = ed25519.Ed25519PrivateKey.generate()
    pem, info = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    (tmp_path / "key.pub").write_bytes(made.public_key().public_bytes(pem, info))
    monkeypatch.setenv(PUBLIC_KEY, str(tmp_path / "key.pub"))
    return made


def test_every_archive_has_to_be_signed_by_the_key(tmp_path: Path, key: ed25519.Ed25519PrivateKey) -> None:
    paths = [write_archive(tmp_path, name) for name in ("a", "b")]
    chosen = choose_archives(tmp_path, "all")
    for path in paths:
        with pytest.raises(UntrustedError, match=rf"{path.name} is not signed: {path.name}\.sig is missing"):
            require_signed(tmp_path, chosen)
        signature = path.with_name(f"{path.name}.sig")
        other = ed25519.Ed25519PrivateKey.generate()
        signature.write_bytes(sign_statement(other, "archive", sha256_of(path)))
        with pytest.raises(UntrustedError, match=r"which is not trusted here.*TORCHTOWERS_PUBLIC_KEY is"):
            require_signed(tmp_path, chosen)
        signature.write_bytes(sign_statement(key, "archive", sha256_of(path)))
    require_signed(tmp_path, chosen)
    write_archive(tmp_path, "a", version="2.0")
    with pytest.raises(UntrustedError, match=r"a\.mar: the signature is of another archive"):
        require_signed(tmp_path, chosen)


def test_a_key_that_a_worker_would_not_find(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PUBLIC_KEY, "key.pub")
    with pytest.raises(ServingError, match=r"TORCHTOWERS_PUBLIC_KEY: expected an absolute path.*got key"):
        require_signed(tmp_path, [])
    monkeypatch.setenv(PUBLIC_KEY, str(tmp_path / "key.pub"))
    with pytest.raises(ArtifactError, match=r"key\.pub can't be read"):
        require_signed(tmp_path, [])


def test_nothing_is_asked_without_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PUBLIC_KEY, raising=False)
    write_archive(tmp_path, "a")
    require_signed(tmp_path, choose_archives(tmp_path, "all"))


@pytest.mark.usefixtures("key")
def test_a_server_is_not_even_started(tmp_path: Path) -> None:
    write_archive(tmp_path, "a")
    with pytest.raises(UntrustedError, match=r"a\.mar is not signed"):
        start(tmp_path, config=free_ports_config(tmp_path), state=tmp_path / "state")
    assert not (tmp_path / "state" / "logs").exists()


def test_a_directory_is_trusted_by_its_manifest(
    artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generate_key(tmp_path / "release")
    monkeypatch.setenv(PUBLIC_KEY, str(tmp_path / "release.pub"))
    store = tmp_path / "store"
    folder = build_archive(
        artifact, name="m", export_path=store, archive_format="no-archive", sign=tmp_path / "release"
    )
    chosen = choose_archives(store, "all")
    require_signed(store, chosen)
    weights = folder / "query.onnx"
    weights.write_bytes(weights.read_bytes() + b"x")
    with pytest.raises(ArtifactError, match=r"query\.onnx was altered"):
        require_signed(store, chosen)
    (folder / "MAR-INF/MANIFEST.json.sig").unlink()
    with pytest.raises(UntrustedError, match="the archive is not signed"):
        require_signed(store, chosen)
