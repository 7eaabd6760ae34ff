"""Downloading a zip from a server on the loopback that cuts, stalls, knows ranges or doesn't."""

import hashlib
import io
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from torchtowers.data.errors import ChecksumError, DataError, FetchError
from torchtowers.data.fetch import fetch_dataset
from torchtowers.data.fetch_source import DatasetFile, NamedDataset, ZipSource
from torchtowers.data.movielens_files import INTERACTIONS, ITEMS, USERS
from torchtowers.data.movielens_grouplens import GENRES, from_grouplens

PART = ".ml-100k.zip.part"


def grouplens() -> bytes:
    """Build a small zip of GroupLens's form, with padding so that it takes several reads."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("ml-100k/u.data", "1\t1\t5\t881250949\n2\t1\t3\t881250950\n")
        archive.writestr("ml-100k/u.user", "1|24|M|writer|85711\n2|30|F|other|94043\n")
        flags = "|".join("1" if genre == "Drama" else "0" for genre in GENRES)
        archive.writestr("ml-100k/u.item", f"1|Café (1995)|01-Jan-1995||url|{flags}\n".encode("latin-1"))
        archive.writestr("ml-100k/padding", random.Random(0).randbytes(300_000))
    return buffer.getvalue()


ZIP = grouplens()
WANTED = {
    INTERACTIONS.name: INTERACTIONS.header + b"1\t1\t5\t881250949\n2\t1\t3\t881250950\n",
    USERS.name: USERS.header + b"1\t24\tM\twriter\t85711\n2\t30\tF\tother\t94043\n",
    ITEMS.name: ITEMS.header + "1\tCafé\t1995\tDrama\n".encode(),
}


class Server(ThreadingHTTPServer):
    """Serves one file; each answer but the last is cut after the next of `cuts` bytes."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = ZIP
        self.status = 0
        self.ranges = True
        self.announces = True
        self.cuts: list[int] = []
        self.stall = threading.Event()
        self.stall.set()
        self.asked: list[str | None] = []

    @property
    def source(self) -> ZipSource:
        url = f"http://127.0.0.1:{self.server_port}/sets/ml-100k.zip"
        return ZipSource(url, hashlib.sha256(ZIP).hexdigest(), len(ZIP), from_grouplens, timeout=20)

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: that clients go away is what the tests are about."""


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        asked = self.headers["Range"]
        self.server.asked.append(asked)
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and self.server.ranges else 0
        body = self.server.content[start:]
        if start and not body:
            self.send_error(416)
            return
        self.send_response(self.server.status or (206 if start else 200))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(self.server.content) - 1}/*")
        if self.server.announces:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: self.server.cuts.pop(0)] if self.server.cuts else body)
        self.server.stall.wait(30)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.stall.set()
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torchtowers.data.fetch_download._PAUSE", 0.01)
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def describe(source: ZipSource) -> NamedDataset:
    files = tuple(
        DatasetFile(name, hashlib.sha256(content).hexdigest(), content.splitlines(True)[0], 1)
        for name, content in WANTED.items()
    )
    return NamedDataset("made-up", files, (source,), "Be kind.")


def run(source: ZipSource, cache: Path) -> Path:
    folder = fetch_dataset(describe(source), cache=cache, progress=False, log=print)
    assert {path.name for path in folder.iterdir()} == {".lock", "SHA256SUMS", *WANTED}
    assert {name: (folder / name).read_bytes() for name in WANTED} == WANTED
    return folder


def leave_part(cache: Path, content: bytes) -> Path:
    (cache / "made-up").mkdir()
    part = cache / "made-up" / PART
    part.write_bytes(content)
    return part


def test_whole_download(server: Server, tmp_path: Path) -> None:
    run(server.source, tmp_path)
    assert server.asked == [None]


def test_partial_file_is_resumed(server: Server, tmp_path: Path) -> None:
    leave_part(tmp_path, ZIP[:100_000])
    run(server.source, tmp_path)
    assert server.asked == ["bytes=100000-"]


def test_complete_part_needs_no_server(server: Server, tmp_path: Path) -> None:
    leave_part(tmp_path, ZIP)
    run(server.source, tmp_path)
    assert server.asked == []


def test_server_without_range_restarts(server: Server, tmp_path: Path) -> None:
    server.ranges = False
    leave_part(tmp_path, ZIP[:100_000])
    run(server.source, tmp_path)
    assert server.asked == ["bytes=100000-"]


def test_server_that_refuses_ranges_is_asked_plainly(server: Server, tmp_path: Path) -> None:
    # The file has become shorter than the part: 416.
    leave_part(tmp_path, ZIP[:100_000])
    server.content = ZIP[:50_000]
    with pytest.raises(FetchError, match=f"a file of 50,000 bytes came, {len(ZIP):,} expected"):
        run(server.source, tmp_path)
    assert server.asked == ["bytes=100000-", None]


@pytest.mark.parametrize("part", [b"\0" * 100_000, b"\0" * len(ZIP), b"\0" * (len(ZIP) + 1)])
def test_wrong_part_is_thrown_away(server: Server, tmp_path: Path, part: bytes) -> None:
    leave_part(tmp_path, part)
    run(server.source, tmp_path)
    assert server.asked[-1] is None


def test_cut_connections_go_on(server: Server, tmp_path: Path) -> None:
    server.cuts = [120_000, 60_000]
    run(server.source, tmp_path)
    assert server.asked == [None, "bytes=120000-", "bytes=180000-"]


def test_cut_again_and_again_gives_up_and_keeps_the_part(server: Server, tmp_path: Path) -> None:
    server.cuts = [1_000] * 5
    with pytest.raises(FetchError, match=r"the connection (ended|broke.*) after 5,000 of"):
        run(server.source, tmp_path)
    part = tmp_path / "made-up" / PART
    assert part.read_bytes() == ZIP[:5_000]
    run(server.source, tmp_path)
    assert server.asked[-1] == "bytes=5000-"


def test_a_server_that_sends_nothing(server: Server, tmp_path: Path) -> None:
    server.stall.clear()
    server.cuts = [0]
    with pytest.raises(FetchError, match=r"broke \(timed out\) after 0 of"):
        run(replace(server.source, timeout=0.2), tmp_path)


def test_wrong_checksum(server: Server, tmp_path: Path) -> None:
    server.content = ZIP[:-1] + b"!"
    found = hashlib.sha256(server.content).hexdigest()
    with pytest.raises(ChecksumError) as caught:
        run(server.source, tmp_path)
    for part in ("ml-100k.zip", server.source.sha256, found):
        assert part in str(caught.value)
    assert {path.name for path in (tmp_path / "made-up").iterdir()} == {".lock"}


def test_endless_answer_ends(server: Server, tmp_path: Path) -> None:
    server.announces = False
    server.content = ZIP * 50
    with pytest.raises(ChecksumError):
        run(server.source, tmp_path)


def test_http_error(server: Server, tmp_path: Path) -> None:
    server.status = 503
    with pytest.raises(FetchError, match="HTTP status 503 Service Unavailable"):
        run(server.source, tmp_path)


def test_a_converted_file_that_differs(server: Server, tmp_path: Path) -> None:
    dataset = describe(server.source)
    wrong = tuple(replace(file, sha256="f" * 64) for file in dataset.files)
    with pytest.raises(ChecksumError, match=r"ml-100k\.inter from http.*: sha256 ffff"):
        fetch_dataset(replace(dataset, files=wrong), cache=tmp_path, log=print)
    assert {path.name for path in (tmp_path / "made-up").iterdir()} == {".lock"}


def test_full_disk_leaves_nothing(server: Server, tmp_path: Path) -> None:
    (tmp_path / "made-up").mkdir()
    (tmp_path / "made-up" / PART).symlink_to("/dev/full")
    with pytest.raises(DataError, match=r"made-up: no space left to write \(No space left on dev") as caught:
        run(server.source, tmp_path)
    assert "\n" not in str(caught.value)
    assert {path.name for path in (tmp_path / "made-up").iterdir()} == {".lock"}


def test_progress_goes_to_a_terminal_only(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    fetch_dataset(describe(server.source), cache=tmp_path / "1", log=lambda line: None)
    assert capsys.readouterr() == ("", "")
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    fetch_dataset(describe(server.source), cache=tmp_path / "2", log=lambda line: None)
    assert "ml-100k.zip: 100%" in terminal.getvalue()


CHILD = """
import json, sys
from pathlib import Path
from torchtowers.data.fetch import fetch_dataset
from torchtowers.data.fetch_source import NamedDataset, DatasetFile, ZipSource
from torchtowers.data.movielens_grouplens import from_grouplens
told = json.loads(sys.argv[1])
files = tuple(DatasetFile(name, sha, b"", 1) for name, sha in told["files"].items())
source = ZipSource(*told["source"], from_grouplens)
fetch_dataset(NamedDataset("made-up", files, (source,), ""), cache=Path(told["cache"]), log=print)
"""


def start_child(source: ZipSource, cache: Path) -> "subprocess.Popen[bytes]":
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in WANTED.items()}
    told = {"files": sums, "source": [source.url, source.sha256, source.size], "cache": str(cache)}
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, json.dumps(told)], stdout=subprocess.DEVNULL, env=os.environ
    )


def test_killed_in_the_middle_and_resumed(server: Server, tmp_path: Path) -> None:
    server.stall.clear()
    server.cuts = [150_000]
    part = tmp_path / "made-up" / PART
    with start_child(server.source, tmp_path) as child:
        deadline = time.monotonic() + 60
        while not (part.exists() and part.stat().st_size == 150_000):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        child.send_signal(signal.SIGKILL)
    server.stall.set()
    assert {path.name for path in part.parent.iterdir()} == {".lock", PART}
    run(server.source, tmp_path)
    assert server.asked == [None, "bytes=150000-"]


def test_two_processes_download_once(server: Server, tmp_path: Path) -> None:
    server.stall.clear()
    server.announces = False
    first, second = start_child(server.source, tmp_path), start_child(server.source, tmp_path)
    time.sleep(1)
    server.stall.set()
    assert (first.wait(60), second.wait(60)) == (0, 0)
    assert server.asked == [None]
    run(server.source, tmp_path)
    assert server.asked == [None]
