import os
import time
from pathlib import Path

import httpx
import pytest

from tests.servers import free_ports_config, running, write_archive
from torchtowers.serving import Client, Server, current_token, status
from torchtowers.serving.errors import ServerNotRunningError, ServingError
from torchtowers.serving.management import Management
from torchtowers.serving.tokens import Kind, Tokens, is_accepted


def _ping(server: Server, token: str) -> int:
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.get(f"{server.record.inference}/ping", headers=headers, trust_env=False).status_code


@pytest.mark.java
def test_a_renewed_key_replaces_the_old_one(server: Server, client: Client) -> None:
    tokens = Tokens(server.state, server.record.management)
    old = tokens.current("inference")
    new = tokens.renew("inference", old)
    assert new != old
    assert new == tokens.current("inference")
    assert (_ping(server, old), _ping(server, new)) == (400, 200)
    # One that was connected before goes on, over both, with the key that another process has fetched.
    assert client.predict("echo", {"user_id": "196"})["items"][0] == "196"
    assert client.predict("echo", {"user_id": "196"}, grpc=True)["items"][0] == "196"
    assert tokens.current("inference") == new


@pytest.mark.java
def test_a_key_that_another_process_has_renewed_is_not_renewed_again(server: Server) -> None:
    tokens = Tokens(server.state, server.record.management)
    assert tokens.renew("inference", "one before") == tokens.current("inference")


@pytest.mark.java
def test_the_management_key_is_renewed_too(server: Server) -> None:
    tokens = Tokens(server.state, server.record.management)
    with Management(server.record.management, tokens) as management:
        tokens.renew("management", tokens.current("management"))
        assert {model.name for model in management.models()} == {"echo"}


@pytest.mark.java
def test_the_key_file_is_its_owners_alone(server: Server) -> None:
    assert (server.state / "key_file.json").stat().st_mode & 0o777 == 0o600
    assert server.state.stat().st_mode & 0o777 == 0o700


def test_no_key_file(tmp_path: Path) -> None:
    with pytest.raises(ServerNotRunningError, match=r"key_file\.json"):
        Tokens(tmp_path, "http://127.0.0.1:1").current("inference")


def test_renewal_when_nobody_listens(tmp_path: Path) -> None:
    (tmp_path / "key_file.json").write_text('{"inference": {"key": "a"}, "API": {"key": "b"}}')
    with pytest.raises(ServerNotRunningError, match=r"127\.0\.0\.1:1"):
        Tokens(tmp_path, "http://127.0.0.1:1").renew("inference", "a")


def test_a_key_file_that_stays_half_written(tmp_path: Path) -> None:
    (tmp_path / "key_file.json").write_text('{"inference": {"ke')
    with pytest.raises(ServingError, match=r"key_file\.json"):
        Tokens(tmp_path, "http://127.0.0.1:1").current("inference")


@pytest.mark.java
@pytest.mark.slow
@pytest.mark.skipif(not os.environ.get("TORCHTOWERS_ALL_TESTS"), reason="waits until a key expires; --all")
def test_everything_goes_on_when_keys_expire(store: Path, tmp_path: Path) -> None:
    write_archive(store, "echo")
    config = free_ports_config(tmp_path, token_expiration_min="1")
    with running(store, config, tmp_path / "state") as server, Client.from_state(server.state) as client:
        tokens = Tokens(server.state, server.record.management)
        first = tokens.current("inference")
        time.sleep(62)
        assert _ping(server, first) == 400
        assert client.predict("echo", {"user_id": "196"}, grpc=True)["items"][0] == "196"
        assert tokens.current("inference") != first
        told = status(server.state)
        assert told is not None
        assert told.ready


@pytest.mark.java
@pytest.mark.parametrize("kind", ["inference", "management"])
def test_a_current_token_is_one_that_the_server_takes(server: Server, kind: Kind) -> None:
    probe = f"{server.record.inference}/ping" if kind == "inference" else f"{server.record.management}/models"
    token = current_token(kind, server.state)
    assert is_accepted(probe, token)
    assert not is_accepted(probe, "wrong")
    Tokens(server.state, server.record.management).renew(kind, token)
    assert not is_accepted(probe, token)
    assert is_accepted(probe, current_token(kind, server.state))


@pytest.mark.java
def test_a_token_that_the_file_has_and_the_server_does_not_take_is_renewed(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Tokens, "current", lambda self, kind: "expired")
    monkeypatch.setattr(Tokens, "renew", lambda self, kind, refused: f"renewed {refused}")
    assert current_token("inference", server.state) == "renewed expired"
