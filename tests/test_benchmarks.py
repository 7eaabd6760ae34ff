"""Our side of the benchmarks runs; TFRS's needs an environment of its own."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.mark.parametrize("script", ["train.py", "index.py", "ranking_quality.py"])
def test_help_says_how_to_call_it(script: str) -> None:
    done = subprocess.run(
        [sys.executable, BENCHMARKS / script, "--help"], capture_output=True, text=True, check=True
    )
    assert f"benchmarks/{script} --work" in done.stdout


@pytest.mark.parametrize("work", ["evaluation", "evaluation_by_id", "tutorial", "tutorial_products"])
def test_a_work_of_ours_is_timed(work: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ours.train", work],
        cwd=BENCHMARKS,
        input='{"steps": 1}\n{"steps": 2}\n',
        capture_output=True,
        text=True,
        check=True,
    )
    ready, *rounds = map(json.loads, done.stdout.splitlines())
    assert ready == {"ready": work}
    assert len(rounds) == 2
    assert all(answered["seconds"] > 0 and answered["peak_bytes"] > 1 << 20 for answered in rounds)


def test_the_page_has_a_row_for_each_work() -> None:
    page = (BENCHMARKS.parent / "docs" / "benchmarks.md").read_text()
    for script in ("train", "index"):
        code = f"import {script}; print(*(work.title for work in {script}.WORKS.values()), sep='\\n')"
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=BENCHMARKS, capture_output=True, text=True, check=True
        )
        for title in done.stdout.splitlines():
            assert f"| {title} |" in page
