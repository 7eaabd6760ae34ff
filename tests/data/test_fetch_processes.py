"""Fetching in processes that are killed at every step, run at once, or meet a full disk."""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from torchtowers.data.fetch_wheel import bytes_below

# The first file compresses well: it is far larger than the wheel that carries it.
CONTENTS = {"made.inter": b"user\titem\n" + b"1\t2\n" * 50_000, "made.item": b"item\n2\n4\n"}

CHILD = """
import json, os, signal, sys
from pathlib import Path
from torchtowers.data.errors import DataError
from torchtowers.data.fetch import fetch_dataset
from torchtowers.data.fetch_source import NamedDataset, DatasetFile, WheelSource

told = json.loads(sys.argv[1])
calls = 0

def deadly(function):
    def call(*args, **kwargs):
        global calls
        calls += 1
        if calls == told["killed_at"]:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*args, **kwargs)
    return call

os.fsync, os.replace = deadly(os.fsync), deadly(os.replace)
if told["limit"]:
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (told["limit"], told["limit"]))
files = tuple(DatasetFile(name, sha, b"", 1) for name, sha in told["files"].items())
source = WheelSource("madeup==1.0", told["wheel"], "madeup/sets")
log = lambda line: print(line, flush=True)
try:
    fetch_dataset(NamedDataset("made-up", files, (source,), "Be kind."), cache=Path(told["cache"]), log=log)
except DataError as error:
    print(type(error).__name__, error, file=sys.stderr)
    sys.exit(2)
"""


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    path = tmp_path / "wheels" / "madeup-1.0-py3-none-any.whl"
    path.parent.mkdir()
    info = {
        "METADATA": "Metadata-Version: 2.1\nName: madeup\nVersion: 1.0\n",
        "WHEEL": "Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "RECORD": "",
    }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in CONTENTS.items():
            archive.writestr(f"madeup/sets/{name}", content)
        for name, text in info.items():
            archive.writestr(f"madeup-1.0.dist-info/{name}", text)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(path.parent))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return sha256(path.read_bytes())


def command(wheel: str, cache: Path, *, killed_at: int = 0, limit: int = 0) -> list[str]:
    sums = {name: sha256(content) for name, content in CONTENTS.items()}
    told = {"files": sums, "wheel": wheel, "cache": str(cache), "killed_at": killed_at, "limit": limit}
    return [sys.executable, "-c", CHILD, json.dumps(told)]


def run(words: list[str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)


def finals(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in CONTENTS if (folder / name).exists()}


def test_killed_at_every_step(tmp_path: Path, wheel: str) -> None:
    cache, step = tmp_path / "cache", 1
    folder = cache / "made-up"
    while (done := run(command(wheel, cache, killed_at=step))).returncode:
        assert done.returncode == -9, done.stderr
        assert finals(folder).items() <= CONTENTS.items()
        # The next run begins with what this one has left.
        step += 1
    # For each of SHA256SUMS and the files: the bytes are synced, the name is taken, the folder is synced.
    assert step == 1 + 3 * (1 + len(CONTENTS))
    assert finals(folder) == CONTENTS
    assert {path.name for path in folder.iterdir()} == {".lock", "SHA256SUMS", *CONTENTS}


def test_killed_and_run_again(tmp_path: Path, wheel: str) -> None:
    cache = tmp_path / "cache"
    # After the first file has its name, before the second has.
    assert run(command(wheel, cache, killed_at=8)).returncode == -9
    assert set(finals(cache / "made-up")) == {"made.inter"}
    # What a fetch killed inside pip leaves.
    (cache / "made-up" / ".pip-left").mkdir()
    assert run(command(wheel, cache)).returncode == 0
    assert finals(cache / "made-up") == CONTENTS
    assert not list((cache / "made-up").glob(".pip-*"))


def test_two_processes_at_once(tmp_path: Path, wheel: str) -> None:
    words = command(wheel, tmp_path / "cache")
    children = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = sorted((child.communicate(timeout=120)[0] for child in children), key=len)
    assert [child.returncode for child in children] == [0, 0]
    assert outputs[0] in ("another process fetches made-up: waiting for it\n", "")
    assert "fetching made-up from madeup==1.0" in outputs[1]
    assert finals(tmp_path / "cache" / "made-up") == CONTENTS


def test_the_second_waits_with_a_message(tmp_path: Path, wheel: str) -> None:
    folder = tmp_path / "cache" / "made-up"
    folder.mkdir(parents=True)
    with (folder / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        words = command(wheel, tmp_path / "cache")
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == "another process fetches made-up: waiting for it\n"
            for name, content in CONTENTS.items():
                (folder / name).write_bytes(content)
            fcntl.flock(lock, fcntl.LOCK_UN)
            assert child.stdout.read() == ""
    assert child.returncode == 0


@pytest.mark.parametrize("limit", [500, 100_000], ids=["in pip", "in the files"])
def test_no_room_for_a_file(tmp_path: Path, wheel: str, limit: int) -> None:
    done = run(command(wheel, tmp_path / "cache", limit=limit))
    folder = tmp_path / "cache" / "made-up"
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith(f"DataError {folder}: no space left to write (File too large); free ")
    assert done.stderr.count("\n") == 1
    assert finals(folder) == {}
    assert {path.name for path in folder.iterdir()} <= {".lock", "SHA256SUMS"}


def test_full_file_system(tmp_path: Path, wheel: str) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    mount = 'mount -t tmpfs -o size=64k tmpfs "$0"'
    inside = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    try:
        possible = run([*inside, mount, str(cache)]).returncode == 0
    except FileNotFoundError:
        possible = False
    if not possible:
        pytest.skip("this user can't mount a small file system")
    script = mount + ' && { "$@" >/dev/null; status=$?; ls -A "$0/made-up"; exit $status; }'
    done = run([*inside, script, str(cache), *command(wheel, cache)])
    assert done.returncode == 2, done.stderr
    assert "no space left to write (No space left on device)" in done.stderr
    assert set(done.stdout.split()) <= {".lock", "SHA256SUMS"}


def test_folders_that_go_while_they_are_measured(tmp_path: Path) -> None:
    """pip removes its temporary folders while the progress bar counts what has come."""
    (tmp_path / "come").write_bytes(b"12345")
    done = threading.Event()

    def churn() -> None:
        while not done.is_set():
            work = tmp_path / "pip-work" / "a" / "b"
            work.mkdir(parents=True)
            (work / "part").write_bytes(b"1")
            shutil.rmtree(tmp_path / "pip-work")

    with ThreadPoolExecutor() as pool:
        churning = pool.submit(churn)
        try:
            sizes = {bytes_below(tmp_path) for _ in range(2_000)}
        finally:
            done.set()
    churning.result()
    assert sizes <= {5, 6}
    assert 5 in sizes
