"""Archives of every origin in one real TorchServe that trusts one key: what answers, and what is refused."""

from pathlib import Path

import pytest

from tests.export.archives import contents_of, rewritten
from tests.export.test_model_archiver import packaged
from tests.servers import free_ports_config, running
from torchtowers.export.archive import build_archive
from torchtowers.export.signing import generate_key, read_private_key, sign_file
from torchtowers.export.verify import verify_archive
from torchtowers.handlers import Recommender
from torchtowers.handlers.errors import UntrustedError
from torchtowers.handlers.seal import PUBLIC_KEY
from torchtowers.serving import Client
from torchtowers.serving.errors import ServingError

pytestmark = pytest.mark.java


FORMATS = {"zip": "default", "tar": "tgz", "folder": "no-archive"}


def test_archives_of_both_tools_and_of_every_form_serve_the_same_answers(
    artifact: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    packaged(artifact, store).rename(store / "theirs.mar")
    for name, form in FORMATS.items():
        build_archive(artifact, name=name, export_path=store, archive_format=form)
    expected = Recommender.load(artifact)
    bodies = [{"user_id": f"u{user}", "k": 60, "fields": ["title"]} for user in range(8)]
    models = ",".join(["theirs=theirs.mar", *FORMATS])
    with (
        running(store, free_ports_config(tmp_path), tmp_path / "state", models=models) as server,
        Client.from_state(server.state) as client,
    ):
        for body in bodies:
            for name in ("theirs", *FORMATS):
                assert client.predict(name, body) == expected.recommend(body)
    assert verify_archive(store / "folder") == []  # nothing was written there


def test_a_server_with_a_key_serves_what_it_signed_and_nothing_else(
    artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generate_key(tmp_path / "key")
    monkeypatch.setenv(PUBLIC_KEY, str(tmp_path / "key.pub"))
    signed = build_archive(artifact, name="m", export_path=tmp_path / "good", sign=tmp_path / "key")
    with (
        running(tmp_path / "good", free_ports_config(tmp_path), tmp_path / "state") as server,
        Client.from_state(server.state) as client,
    ):
        answer = client.predict("m", {"user_id": "u3", "k": 5})
    assert answer == Recommender.load(artifact).recommend({"user_id": "u3", "k": 5})
    build_archive(artifact, name="m", export_path=tmp_path / "unsigned")
    with (
        pytest.raises(UntrustedError, match=r"m\.mar is not signed: m\.mar\.sig is missing"),
        running(tmp_path / "unsigned", free_ports_config(tmp_path), tmp_path / "state2"),
    ):
        pass
    # One whose file is signed all the same, and no longer what its manifest says.
    weights = bytearray(contents_of(signed)["index/embeddings.npy"])
    weights[-1] ^= 1
    (tmp_path / "bad").mkdir()
    bad = rewritten(signed, tmp_path / "bad/m.mar", {"index/embeddings.npy": bytes(weights)})
    sign_file(read_private_key(tmp_path / "key"), bad)
    with (
        pytest.raises(ServingError, match=r"index/embeddings\.npy was altered"),
        running(tmp_path / "bad", free_ports_config(tmp_path), tmp_path / "state2"),
    ):
        pass
