"""Archives built by processes of their own: other surroundings, full disks, interruptions, two at once."""

import os
import shutil
import signal
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest

from torchtowers.export.archive import build_archive
from torchtowers.export.signing import generate_key

TORCHTOWERS = Path(sys.executable).with_name("torchtowers")


def environment(**changes: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name != "SOURCE_DATE_EPOCH"}
    return {**kept, **changes}


def build_command(artifact: Path, store: Path, *options: str) -> list[str]:
    name = ["--name", "tiny-onnx"]
    return [str(TORCHTOWERS), "archive", "build", str(artifact), *name, "--export-path", str(store), *options]


# Builds as the command line does, on a day and in surroundings of its arguments.
_ELSEWHERE = """
import datetime, os, sys, time
now = time.time
time.time = lambda: now() + float(sys.argv[1])
os.umask(int(sys.argv[2], 8))
from torchtowers.cli.main import main
form, sign = sys.argv[3], sys.argv[4]
options = ["--name", "tiny-onnx", "--export-path", "store", "--archive-format", form, "--sign", sign]
sys.exit(main(["archive", "build", "copy", *options]))
"""


@pytest.mark.parametrize("form", ["default", "tgz", "no-archive"])
@pytest.mark.parametrize(
    ("later", "umask", "zone"),
    [("86400", "077", "Pacific/Kiritimati"), ("-31536000", "000", "America/St_Johns")],
)
@pytest.mark.parametrize("epoch", [None, "1700000001"])
def test_same_inputs_give_the_same_bytes_on_another_day_in_another_folder_under_another_umask_and_timezone(
    artifact: Path,
    tmp_path: Path,
    later: str,
    umask: str,
    zone: str,
    form: str,
    epoch: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    if epoch is not None:
        monkeypatch.setenv("SOURCE_DATE_EPOCH", epoch)
    generate_key(tmp_path / "key")
    here = tmp_path / "here"
    build_archive(artifact, name="tiny-onnx", export_path=here, archive_format=form, sign=tmp_path / "key")
    copy = Path(shutil.copytree(artifact, tmp_path / "copy"))
    for position, path in enumerate(sorted(copy.rglob("*"), reverse=True)):
        if path.is_file():
            path.chmod(0o600)
        os.utime(path, (10**9 + position, 10**9 + position))
    surroundings = {"TZ": zone, "PYTHONHASHSEED": later.strip("-"), "LC_ALL": "C", "HOME": str(tmp_path)}
    if epoch is not None:
        surroundings["SOURCE_DATE_EPOCH"] = epoch
    subprocess.run(
        [sys.executable, "-c", _ELSEWHERE, later, umask, form, str(tmp_path / "key")],
        cwd=tmp_path,
        env=environment(**surroundings),
        check=True,
        capture_output=True,
    )
    built = {path.relative_to(tmp_path / "store"): path for path in (tmp_path / "store").rglob("*")}
    expected = {path.relative_to(here): path for path in here.rglob("*")}
    assert built.keys() == expected.keys()
    assert len(built) > 1
    for name, path in built.items():
        if path.is_file():
            assert path.read_bytes() == expected[name].read_bytes()
        assert path.stat().st_mode == expected[name].stat().st_mode
        assert path.stat().st_mode & 0o777 == (0o644 if path.is_file() else 0o755)


# By the archive's format: what it is called.
NAMES = {"default": "tiny-onnx.mar", "tgz": "tiny-onnx.tar.gz", "no-archive": "tiny-onnx"}


@pytest.fixture(params=NAMES)
def form(request: pytest.FixtureRequest) -> str:
    """Each format in turn."""
    found: str = request.param
    return found


def content_of(path: Path) -> dict[str, bytes]:
    """Read a file, or the files of a directory."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return {file.relative_to(path.parent).as_posix(): file.read_bytes() for file in files}


def built(artifact: Path, folder: Path, form: str) -> Path:
    """Build what the processes build."""
    return build_archive(artifact, name="tiny-onnx", export_path=folder, archive_format=form)


def assert_one_clear_line(result: "subprocess.CompletedProcess[str]", archive: Path, reason: str) -> None:
    assert result.returncode == 2, result.stderr
    assert result.stdout == ""
    assert result.stderr == f"torchtowers: {archive} can't be written: {reason}; nothing is left of it\n"


def test_file_that_may_not_grow_leaves_nothing_and_exits_2(artifact: Path, tmp_path: Path, form: str) -> None:
    store = tmp_path / "store"
    command = build_command(artifact, store, "--archive-format", form)
    limited = ["bash", "-c", 'ulimit -f 8; exec "$0" "$@"', *command]
    result = subprocess.run(limited, env=environment(), capture_output=True, text=True, check=False)
    assert_one_clear_line(result, store / NAMES[form], "File too large")
    assert not list(store.iterdir())


def test_full_disk_leaves_nothing_keeps_the_earlier_archive_and_exits_2(
    artifact: Path, tmp_path: Path, form: str
) -> None:
    """On a real file system of its own, which only the process's own mount namespace sees."""
    earlier = built(artifact, tmp_path / "earlier", form)
    content, disk = content_of(earlier), tmp_path / "disk"
    disk.mkdir()
    # Each file takes whole pages, and so does a folder.
    size = sum(-(-len(part) // 4096) * 4 for part in content.values()) + 4 * 10
    script = f"""
        mount -t tmpfs -o size={size * 3 // 2}k,mode=755 tmpfs {disk} || exit 77
        cp -r {earlier} {disk}
        "$@"; code=$?
        ls -A {disk}; cd {disk}; find . -type f | LC_ALL=C sort | xargs sha256sum | sha256sum
        exit $code
    """
    options = ("--version", "2.0", "--force", "--archive-format", form)
    command = build_command(artifact, disk, *options)
    in_namespace = ["unshare", "--mount", "--map-root-user", "bash", "-c", script, "bash", *command]
    try:
        result = subprocess.run(in_namespace, env=environment(), capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("needs unshare, of util-linux")
    if result.returncode in (1, 77) and "torchtowers:" not in result.stderr:
        pytest.skip(f"no file system can be mounted here: {result.stderr.strip()}")
    listed, digest = result.stdout.splitlines()
    assert listed == NAMES[form]
    lines = [f"{sha256(part).hexdigest()}  ./{name}\n" for name, part in sorted(content.items())]
    assert digest.split()[0] == sha256("".join(lines).encode()).hexdigest()
    result.stdout = ""
    assert_one_clear_line(result, disk / NAMES[form], "No space left on device")


# Builds as the command line does, and stops for ever when half of the archive is written.
_HALF = """
import sys, time
from torchtowers.export import members
read = members._read
def stop(name, source):
    if name == "query.onnx":
        print("half", flush=True)
        time.sleep(600)
    return read(name, source)
members._read = stop
from torchtowers.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


def half_built(command: list[str]) -> "subprocess.Popen[str]":
    """Start a build, and come back when half of it is written."""
    process = subprocess.Popen(
        [sys.executable, "-c", _HALF, *command[1:]],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "half\n"
    return process


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_interrupted_build_leaves_no_half_archive_and_the_next_one_clears_what_is_left(
    artifact: Path, tmp_path: Path, sent: signal.Signals, form: str
) -> None:
    store = tmp_path / "store"
    command = build_command(artifact, store, "--archive-format", form)
    process = half_built(command)
    assert list(store.iterdir())  # it is being written
    process.send_signal(sent)
    _, err = process.communicate(timeout=60)
    # A server takes what is not hidden.
    assert not [path for path in store.iterdir() if not path.name.startswith(".")]
    if sent == signal.SIGINT:
        assert process.returncode == 130
        assert err == "torchtowers: interrupted\n"
        assert not list(store.iterdir())
    else:
        assert list(store.iterdir())
    subprocess.run(command, env=environment(), check=True, capture_output=True)
    assert content_of(store / NAMES[form]) == content_of(built(artifact, tmp_path / "other", form))
    assert [path.name for path in store.iterdir()] == [NAMES[form]]


def test_what_another_build_writes_is_no_leftover(artifact: Path, tmp_path: Path, form: str) -> None:
    store = tmp_path / "store"
    command = build_command(artifact, store, "--archive-format", form)
    process = half_built(command)
    (part,) = store.iterdir()
    subprocess.run(command, env=environment(), check=True, capture_output=True)
    assert {path.name for path in store.iterdir()} == {NAMES[form], part.name}
    process.kill()
    process.communicate(timeout=60)
    subprocess.run(command, env=environment(), check=True, capture_output=True)
    assert [path.name for path in store.iterdir()] == [NAMES[form]]


def test_two_builds_of_one_name_at_once_are_both_fine(artifact: Path, tmp_path: Path, form: str) -> None:
    store = tmp_path / "store"
    command = build_command(artifact, store, "--archive-format", form)
    processes = [subprocess.Popen(command, env=environment(), stderr=subprocess.PIPE) for _ in range(2)]
    results = [(process.communicate(timeout=60)[1], process.returncode) for process in processes]
    assert [code for _, code in results] == [0, 0], results
    assert [path.name for path in store.iterdir()] == [NAMES[form]]
    assert content_of(store / NAMES[form]) == content_of(built(artifact, tmp_path / "other", form))
