"""Archives built by processes of their own: other surroundings, full disks, interruptions, two at once."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from torchtowers.export.archive import build_archive
from torchtowers.export.signing import generate_key
from torchtowers.handlers.signature import sha256_of

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


def assert_one_clear_line(result: "subprocess.CompletedProcess[str]", store: Path, reason: str) -> None:
    assert result.returncode == 2, result.stderr
    assert result.stdout == ""
    archive = store / "tiny-onnx.mar"
    assert result.stderr == f"torchtowers: {archive} can't be written: {reason}; nothing is left of it\n"


def test_file_that_may_not_grow_leaves_nothing_and_exits_2(artifact: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    limited = ["bash", "-c", 'ulimit -f 8; exec "$0" "$@"', *build_command(artifact, store)]
    result = subprocess.run(limited, env=environment(), capture_output=True, text=True, check=False)
    assert_one_clear_line(result, store, "File too large")
    assert not list(store.iterdir())


def test_full_disk_leaves_nothing_keeps_the_earlier_archive_and_exits_2(
    artifact: Path, archives: Path, tmp_path: Path
) -> None:
    """On a real file system of 256 kB, which only the process's own mount namespace sees."""
    size = (archives / "tiny-onnx.mar").stat().st_size
    script = f"""
        mount -t tmpfs -o size=256k,mode=755 tmpfs {tmp_path} || exit 77
        cp {archives}/tiny-onnx.mar {tmp_path}
        "$@"; code=$?
        ls -A {tmp_path}; sha256sum < {tmp_path}/tiny-onnx.mar
        exit $code
    """
    assert 256 * 1024 / 2 < size < 256 * 1024, "one archive has to fit, and not two"
    command = build_command(artifact, tmp_path, "--version", "2.0", "--force")
    in_namespace = ["unshare", "--mount", "--map-root-user", "bash", "-c", script, "bash", *command]
    try:
        result = subprocess.run(in_namespace, env=environment(), capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("needs unshare, of util-linux")
    if result.returncode in (1, 77) and "torchtowers:" not in result.stderr:
        pytest.skip(f"no file system can be mounted here: {result.stderr.strip()}")
    listed, digest = result.stdout.splitlines()
    assert listed == "tiny-onnx.mar"
    assert digest.split()[0] == sha256_of(archives / "tiny-onnx.mar")
    result.stdout = ""
    assert_one_clear_line(result, tmp_path, "No space left on device")


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


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_interrupted_build_leaves_no_half_archive_under_the_name(
    artifact: Path, archives: Path, tmp_path: Path, sent: signal.Signals
) -> None:
    store = tmp_path / "store"
    command = build_command(artifact, store)
    process = subprocess.Popen(
        [sys.executable, "-c", _HALF, *command[1:]],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "half\n"
    assert list(store.iterdir())  # it is being written
    process.send_signal(sent)
    _, err = process.communicate(timeout=60)
    # A server takes what ends in .mar, and directories.
    assert not [path for path in store.iterdir() if path.suffix == ".mar" or path.is_dir()]
    if sent == signal.SIGINT:
        assert process.returncode == 130
        assert err == "torchtowers: interrupted\n"
        assert not list(store.iterdir())
    subprocess.run(command, env=environment(), check=True, capture_output=True)
    assert (store / "tiny-onnx.mar").read_bytes() == (archives / "tiny-onnx.mar").read_bytes()


def test_two_builds_of_one_name_at_once_are_both_fine(artifact: Path, archives: Path, tmp_path: Path) -> None:
    processes = [
        subprocess.Popen(build_command(artifact, tmp_path), env=environment(), stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    results = [(process.communicate(timeout=60)[1], process.returncode) for process in processes]
    assert [code for _, code in results] == [0, 0], results
    assert [path.name for path in tmp_path.iterdir()] == ["tiny-onnx.mar"]
    assert (tmp_path / "tiny-onnx.mar").read_bytes() == (archives / "tiny-onnx.mar").read_bytes()
