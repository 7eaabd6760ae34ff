"""A process beside this one: it ends with the block, and sees this one's end where that comes first."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

MODULE = """
import pathlib, sys
from torchtowers.serving.companion import wait_for_the_end

folder = pathlib.Path(sys.argv[1])
(folder / "began").touch()
wait_for_the_end()
(folder / "seen").touch()
"""
CALLER = """
import os, pathlib, sys, time
from torchtowers.serving.companion import companion

folder = pathlib.Path(sys.argv[1])
with companion("beside", folder):
    while not (folder / "began").exists():
        time.sleep(0.01)
    if sys.argv[2] == "killed":
        os.kill(os.getpid(), 9)
"""


@pytest.mark.parametrize(("how", "code"), [("killed", -9), ("done", 0)])
def test_a_companion_sees_an_end_in_the_block_and_no_other(
    how: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "beside.py").write_text(MODULE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    command = [sys.executable, "-c", CALLER, str(tmp_path), how]
    ended = subprocess.run(command, check=False, timeout=60)
    assert ended.returncode == code
    until = time.monotonic() + 30
    while how == "killed" and not (tmp_path / "seen").exists():
        assert time.monotonic() < until
        time.sleep(0.02)
    assert (tmp_path / "seen").exists() == (how == "killed")
