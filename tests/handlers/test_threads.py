"""A worker takes its part of the cores."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from torchtowers.handlers.threads import threads_of_worker

# Counts the threads of a process whose numpy has multiplied large matrices.
MULTIPLIED = """
import os, sys
import numpy as np
from torchtowers.handlers.threads import limit_blas
assert limit_blas(int(sys.argv[1]))
x = np.ones((1500, 1500), np.float32)
x @ x
from ctypes import CDLL
maps = [line.split()[-1] for line in open("/proc/self/maps") if "openblas" in line]
library = CDLL(maps[0])
for name in ("scipy_openblas_get_num_threads64_", "openblas_get_num_threads64_", "openblas_get_num_threads"):
    if hasattr(library, name):
        print(getattr(library, name)())
"""


@pytest.mark.parametrize(
    ("config", "threads"),
    [
        (None, 7),
        ({}, 7),
        ({"minWorkers": 2}, 3),
        ({"minWorkers": 1, "maxWorkers": 3}, 2),
        ({"minWorkers": 20}, 1),
        ({"minWorkers": "two"}, 7),
    ],
)
def test_all_cores_but_one_are_divided(config: Any, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert threads_of_worker(config) == threads


@pytest.mark.skipif(sys.platform != "linux", reason="its maps tell which library numpy has loaded")
@pytest.mark.parametrize("threads", [1, 2])
def test_numpy_multiplies_with_as_many_threads(threads: int) -> None:
    if "openblas" not in Path("/proc/self/maps").read_text():
        pytest.skip("this numpy was built with another library")
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    done = subprocess.run(
        [sys.executable, "-c", MULTIPLIED, str(threads)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [str(threads)]
