import errno
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import platformdirs
import pytest

from torchtowers.serving import Client, current_token, status, stop
from torchtowers.serving.errors import ServerNotRunningError, ServingError
from torchtowers.serving.state import Record, StateFolder
from torchtowers.serving.tokens import Tokens


def _record(folder: StateFolder) -> Record:
    return Record(
        pid=1,
        create_time=2.5,
        inference="http://127.0.0.1:8080",
        management="http://127.0.0.1:8081",
        metrics="http://127.0.0.1:8082",
        grpc="127.0.0.1:7070",
        token_authorization=True,
        model_store="store",
        config="config.properties",
        started="2025-01-01T00:00:00+00:00",
        tmp=str(folder.path / "tmp"),
    )


def _read(state: Path) -> Record | None:
    return StateFolder(state).read()


def test_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TORCHTOWERS_STATE", raising=False)
    assert StateFolder().path == platformdirs.user_state_path("torchtowers").resolve() / "serve"
    monkeypatch.setenv("TORCHTOWERS_STATE", str(tmp_path / "a"))
    assert StateFolder().path == tmp_path / "a"
    assert StateFolder(tmp_path / "b").path == tmp_path / "b"


def test_what_the_last_server_left_goes_and_its_logs_stay(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path / "state")
    tmp = folder.prepare()
    (tmp / "model").mkdir()
    folder.key_file.write_text("{}")
    (folder.logs / "model_log.log").write_text("line")
    folder.write(_record(folder))
    assert list(folder.prepare().iterdir()) == []
    assert not folder.key_file.exists()
    assert folder.read() is None
    assert (folder.logs / "model_log.log").read_text() == "line"


def test_a_path_too_long_for_sockets_is_replaced(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path / ("x" * 90))
    tmp = folder.prepare()
    assert not tmp.is_relative_to(tmp_path)
    assert tmp.stat().st_mode & 0o777 == 0o700
    folder.write(replace(_record(folder), tmp=str(tmp)))
    folder.prepare().rmdir()
    assert not tmp.exists()


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"pid": 1}', "null", "[" * 100_000])
def test_a_record_that_is_none(tmp_path: Path, text: str) -> None:
    folder = StateFolder(tmp_path)
    folder.record_file.write_text(text)
    assert folder.read() is None


def test_a_newer_servers_record_stays(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path)
    record = _record(folder)
    folder.write(replace(record, pid=2))
    folder.forget(record)
    assert folder.read() == replace(record, pid=2)
    folder.forget(replace(record, pid=2))
    assert folder.read() is None


def test_a_lock_is_free_again_after_an_error(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path)
    with pytest.raises(KeyError), folder.lock("start", wait=False):
        raise KeyError
    with (
        folder.lock("start", wait=False),
        pytest.raises(ServingError, match="another start is under way"),
        folder.lock("start", wait=False),
    ):
        pass


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system lets nobody read a file: tests may run as root, who may read another user's."""

    def refuse(path: Path, *arguments: object, **more: object) -> str:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_text", refuse)


@pytest.mark.parametrize("ask", [status, stop, current_token, Client.from_state, _read])
def test_a_path_that_is_no_folder(ask: Callable[..., object], tmp_path: Path) -> None:
    file = tmp_path / "passwd"
    file.write_text("")
    with pytest.raises(ServingError) as caught:
        ask(state=file)
    assert str(caught.value) == (
        f"{file}: can't read the state folder (Not a directory): name another one with --state or "
        "TORCHTOWERS_STATE"
    )


@pytest.mark.usefixtures("refused")
@pytest.mark.parametrize("ask", [status, stop, current_token, Client.from_state, _read])
def test_a_folder_of_another_user(ask: Callable[..., object], tmp_path: Path) -> None:
    with pytest.raises(
        ServingError, match=r"can't read the state folder \(Permission denied\): name another"
    ):
        ask(state=tmp_path)


@pytest.mark.usefixtures("refused")
def test_keys_of_another_user(tmp_path: Path) -> None:
    with pytest.raises(ServingError, match=f"^{tmp_path}: can't read the state folder .*Permission denied"):
        Tokens(tmp_path, "http://127.0.0.1:1").current("inference")


def test_a_record_that_can_not_be_written(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path)
    folder.record_file.with_suffix(".tmp").mkdir()
    with pytest.raises(ServingError, match=r"can't write the state folder \(Is a directory\)"):
        folder.write(_record(folder))
    folder.key_file.mkdir()
    with pytest.raises(ServingError, match=r"can't write the state folder \("):
        folder.clear(tmp_path / "tmp")
    with pytest.raises(ServingError, match=r"can't write the state folder \("):
        folder.prepare()


def test_a_home_that_nobody_has() -> None:
    with pytest.raises(
        ServingError, match=r"^~nobody-of-that-name/s: can't find the state folder \(.*--state"
    ):
        StateFolder("~nobody-of-that-name/s")


def test_a_folder_may_be_a_text(tmp_path: Path) -> None:
    state = str(tmp_path / "state")
    assert StateFolder(state).path == tmp_path / "state"
    assert status(state) is None
    for ask in (stop, Client.from_state, lambda state: current_token("inference", state)):
        with pytest.raises(ServerNotRunningError, match=state):
            ask(state)


def test_a_folder_that_can_not_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    folder = StateFolder(tmp_path / "file" / "state")
    with (
        pytest.raises(
            ServingError, match=r"can't write the state folder \(Not a directory\).*TORCHTOWERS_STATE"
        ),
        folder.lock("start", wait=False),
    ):
        pass
