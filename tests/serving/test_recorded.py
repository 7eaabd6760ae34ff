"""Requests out of files, and out of archives of every form."""

from pathlib import Path

import pytest

from tests.servers import write_archive
from torchtowers.export.archive import build_archive
from torchtowers.handlers.samples import read_samples
from torchtowers.serving import Server
from torchtowers.serving.errors import ServerNotRunningError, ServingError
from torchtowers.serving.recorded import (
    find_archive,
    read_requests,
    recorded_requests,
    requests_of_served,
)
from torchtowers.serving.state import Record, StateFolder


@pytest.mark.parametrize("form", ["default", "tgz", "no-archive"])
def test_an_archive_gives_its_requests(artifact: Path, tmp_path: Path, form: str) -> None:
    path = build_archive(artifact, name="a", export_path=tmp_path, archive_format=form)
    recorded = [sample.request for sample in read_samples(artifact / "samples.json")]
    assert recorded_requests(path) == recorded


def test_an_archive_without_any(tmp_path: Path) -> None:
    path = write_archive(tmp_path, "echo")
    with pytest.raises(ServingError, match=r"echo\.mar holds no recorded requests .*--input"):
        recorded_requests(path)
    (tmp_path / "folder").mkdir()
    with pytest.raises(ServingError, match="folder holds no recorded requests"):
        recorded_requests(tmp_path / "folder")
    path.write_bytes(b"nonsense")
    with pytest.raises(ServingError, match=r"samples\.json can't be read: File is not a zip file"):
        recorded_requests(path)


def test_lines_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "requests.jsonl"
    path.write_text('{"a": 1}\n\n{"a": 2}\n')
    assert read_requests(path) == [{"a": 1}, {"a": 2}]
    path.write_bytes(b"\xff")
    with pytest.raises(ServingError, match="can't be read"):
        read_requests(path)


def test_one_version_is_meant(tmp_path: Path) -> None:
    write_archive(tmp_path, "echo", version="1.0", file="echo-1.mar")
    write_archive(tmp_path, "echo", version="2.0", file="echo-2.mar")
    assert find_archive(tmp_path, "echo", "2.0").file == "echo-2.mar"
    with pytest.raises(ServingError, match=r"several versions of echo, there are 1\.0, 2\.0: .*--version"):
        find_archive(tmp_path, "echo")
    with pytest.raises(ServingError, match=r"no version 3 of echo, there are 1\.0, 2\.0"):
        find_archive(tmp_path, "echo", "3")


def test_no_server(tmp_path: Path) -> None:
    with pytest.raises(ServerNotRunningError, match="torchtowers serve start"):
        requests_of_served("echo", state=tmp_path)


def test_a_served_model_gives_those_of_its_archive(artifact: Path, tmp_path: Path) -> None:
    store, state = tmp_path / "store", tmp_path / "state"
    build_archive(artifact, name="a", version="2.0", export_path=store)
    # An earlier version, of before requests were recorded.
    write_archive(store, "a", version="1.0", file="a-1.mar")
    state.mkdir()
    StateFolder(state).write(Record(0, 0.0, "", "", "", "", True, str(store), "", "", ""))
    recorded = [sample.request for sample in read_samples(artifact / "samples.json")]
    assert requests_of_served("a", None, state) == recorded
    assert requests_of_served("a", "2.0", state) == recorded
    with pytest.raises(ServingError, match=r"a-1\.mar holds no recorded requests"):
        requests_of_served("a", "1.0", state)


@pytest.mark.java
def test_a_served_model_without_requests(server: Server) -> None:
    with pytest.raises(ServingError, match=r"echo-1\.mar holds no recorded requests"):
        requests_of_served("echo", "1.0", server.state)
    with pytest.raises(ServingError, match="no version 9 of echo: give requests with --input"):
        requests_of_served("echo", "9", server.state)
    with pytest.raises(ServingError, match=r"no such archive.*; or give requests with --input"):
        requests_of_served("nothing", None, server.state)
