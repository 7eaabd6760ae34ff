import base64
import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from torchtowers.handlers.errors import UntrustedError
from torchtowers.handlers.signing import key_id, sign_statement, statement, verify_signature

ed25519 = pytest.importorskip(
    "cryptography.hazmat.primitives.asymmetric.ed25519", reason="pip install 'torchtowers[release]'"
)

# RFC 8032, section 7.1, test 1.
SECRET = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
PUBLIC = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
SHA = hashlib.sha256(b"an archive").hexdigest()


def test_what_is_signed_is_written_down() -> None:
    assert statement("archive", SHA) == f"torchtowers archive 1\nsha256 {SHA}\n".encode()


def test_the_key_is_that_of_the_rfc_and_its_signature_always_the_same() -> None:
    key = ed25519.Ed25519PrivateKey.from_private_bytes(SECRET)
    assert key.public_key().public_bytes_raw().hex() == PUBLIC
    document = sign_statement(key, "archive", SHA)
    assert document == sign_statement(key, "archive", SHA)
    name = hashlib.sha256(bytes.fromhex(PUBLIC)).hexdigest()[:16]
    assert json.loads(document)["key"] == name == key_id(bytes.fromhex(PUBLIC))
    assert verify_signature(document, "archive", SHA, {name: key.public_key()}) == name
    with pytest.raises(UntrustedError, match="the signature is of another manifest"):
        verify_signature(document, "manifest", SHA, {name: key.public_key()})
    with pytest.raises(UntrustedError, match="the signature is of another archive"):
        verify_signature(document, "archive", SHA[::-1], {name: key.public_key()})
    with pytest.raises(UntrustedError, match=rf"signed by key {name}, which is not trusted here"):
        verify_signature(document, "archive", SHA, {})


@pytest.mark.parametrize("text", [b"", b"\xff", b"[]", b"{}", b"[" * 100_000])
def test_what_is_no_signature(text: bytes) -> None:
    with pytest.raises(UntrustedError, match="the signature is no JSON as"):
        verify_signature(text, "archive", SHA, {})


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
def test_openssl_checks_it_as_well(tmp_path: Path) -> None:
    """As docs/release.md tells those who have no toolkit."""
    from cryptography.hazmat.primitives import serialization

    key = ed25519.Ed25519PrivateKey.from_private_bytes(SECRET)
    pem, info = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    (tmp_path / "key.pub").write_bytes(key.public_key().public_bytes(pem, info))
    signature = base64.b64decode(json.loads(sign_statement(key, "archive", SHA))["signature"])
    (tmp_path / "raw").write_bytes(signature)
    (tmp_path / "statement").write_bytes(statement("archive", SHA))
    command = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", "key.pub", "-rawin"]
    command += ["-in", "statement", "-sigfile", "raw"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "Signature Verified Successfully" in done.stdout, done.stderr
