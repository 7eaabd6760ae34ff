"""Our side of the benchmarks runs; TFRS's needs an environment of its own."""

import importlib
import json
import os
import runpy
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import polars as pl
import pytest

from tests.tiny import tiny_tables
from torchtowers.data.tables import Tables

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def quality(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The benchmark as a module."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("quality")


def like_movielens() -> Tables:
    """Give small tables with MovieLens 100K's columns."""
    tables = tiny_tables()
    occupation = pl.when(pl.col("age") > 30).then(pl.lit("artist")).otherwise(pl.lit("student"))
    return Tables(
        tables.interactions, tables.users.with_columns(occupation.alias("occupation")), tables.items
    )


@pytest.mark.parametrize(
    "script",
    [
        "train.py",
        "index.py",
        "data.py",
        "quality.py",
        "archive.py",
        "smaller.py",
        "index_update.py",
        "memory.py",
        "serving.py",
        "two_stage.py",
    ],
)
def test_help_says_how_to_call_it(
    script: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    monkeypatch.setattr(sys, "argv", [script, "--help"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(BENCHMARKS / script), run_name="__main__")
    assert ended.value.code == 0
    assert f"benchmarks/{script} --" in capsys.readouterr().out


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


@pytest.mark.parametrize("work", ["encode", "prepare", "wait"])
def test_a_work_with_files_is_timed(work: str, tmp_path: Path) -> None:
    path, rows = tmp_path / "some.parquet", 130_000
    write = (
        f"import interactions, pathlib; interactions.write_interactions(pathlib.Path({str(path)!r}), {rows})"
    )
    subprocess.run([sys.executable, "-c", write], cwd=BENCHMARKS, check=True)
    done = subprocess.run(
        [sys.executable, "-m", "ours.data", work, path],
        cwd=BENCHMARKS,
        capture_output=True,
        text=True,
        check=True,
    )
    measured = json.loads(done.stdout)
    assert measured["rows"] == (100 * 1024 if work == "wait" else rows)
    assert measured["seconds"] > 0
    if work == "wait":
        assert 0 < measured["waited"] < measured["seconds"]


@pytest.mark.parametrize(
    "name",
    ["per_user", "per_user_features", "random", "random_features", "leave_last_out", "ratings", "clicks"],
)
def test_a_recipe_is_measured(quality: ModuleType, name: str) -> None:
    work = quality.WORKS[name]
    small = ("training.epochs=2", "training.batch_size=64")
    measured = quality.measure_on(like_movielens(), name, quality.configured(work, small), rounds=2)
    assert len(measured["minutes"]) == 2
    for figure, by_seed in measured["by_seed"].items():
        assert [len(folds) for folds in by_seed] == [5 if work.folds else 1] * 2
        # Of so few items all are among the first 100.
        assert by_seed[0] != by_seed[1] or figure.startswith("top_100")
        mean = sum(map(sum, by_seed)) / sum(map(len, by_seed))
        assert measured["figures"][figure]["mean"] == pytest.approx(mean)
    lines = quality.row(measured).splitlines()
    assert len(lines) == len(work.wanted)
    assert all(line.count("|") == quality.HEADER.count("|") for line in lines)


def test_folds_test_each_interaction_once(quality: ModuleType) -> None:
    parts = [
        tables.interactions["part"] for tables in quality.parts_of(quality.WORKS["ratings"], tiny_tables())
    ]
    tested = sum((part == "test").cast(pl.Int64) for part in parts)
    assert tested.to_list() == [1] * len(parts[0])
    assert all((part == "validation").mean() == pytest.approx(0.08, abs=0.01) for part in parts)


def test_the_page_has_a_row_for_each_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    page = (BENCHMARKS.parent / "docs" / "benchmarks.md").read_text()
    for script in ("train", "index", "data", "quality", "index_update"):
        works = runpy.run_path(str(BENCHMARKS / f"{script}.py"), run_name=script)["WORKS"]
        assert works
        for work in works.values():
            assert f"| {work.title} |" in page


def test_an_archive_is_timed_on_every_side() -> None:
    pytest.importorskip(
        "model_archiver", reason="needs torch-model-archiver: pip install 'torchtowers[serve]'"
    )
    done = subprocess.run(
        [sys.executable, BENCHMARKS / "archive.py", "--rounds", "1", "--json"],
        env={**os.environ, "ARCHIVE_ITEMS": "2000"},
        capture_output=True,
        text=True,
        check=True,
    )
    works = json.loads(done.stdout)["works"]
    assert [work["work"] for work in works] == ["built", "signed", "tgz"]
    for work in works:
        assert len(work["ours_seconds"]) == len(work["copy_seconds"]) == 1
        assert 10 < work["peak_mb"] < 200
    assert works[0]["times_faster_than_archiver"] > 0


def test_a_new_index_is_timed() -> None:
    done = subprocess.run(
        [sys.executable, BENCHMARKS / "index_update.py", "--rounds", "1", "--json"],
        env={**os.environ, "INDEX_ITEMS": "4000"},
        capture_output=True,
        text=True,
        check=True,
    )
    works = {work["work"]: work for work in json.loads(done.stdout)["works"]}
    counts = {name: (work["items"], work["index"]) for name, work in works.items()}
    quarter, whole = (1000, 1000), (4000, 4000)
    assert counts == {
        "new": whole,
        "csv": whole,
        "quarter": quarter,
        "again": whole,
        "add": (1000, 4000),
    }
    assert all(work["items_per_second"] > 0 for work in works.values())
    assert all(work["resident_bytes"] > work["anonymous_bytes"] > 1 << 20 for work in works.values())


@pytest.mark.java
def test_two_stages_are_timed() -> None:
    done = subprocess.run(
        [sys.executable, BENCHMARKS / "two_stage.py", "--rounds", "3", "--work", "rows", "--json"],
        env={**os.environ, "TWO_STAGE_ITEMS": "3000"},
        capture_output=True,
        text=True,
        check=True,
    )
    (work,) = json.loads(done.stdout)["works"]
    assert work["items"] == 3000
    assert 0 < work["served_p50_ms"] <= work["served_p95_ms"]
    assert 0 < work["handled_p50_ms"] <= work["handled_p95_ms"]


def test_archives_of_every_format_are_asked_at_random(
    artifact: Path, ranking_artifact: Path, combined_artifact: Path
) -> None:
    artifacts = [artifact, ranking_artifact, combined_artifact]
    done = subprocess.run(
        [sys.executable, BENCHMARKS / "formats.py", *artifacts, "--requests", "20", "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    rows = json.loads(done.stdout)
    assert [row["archive"] for row in rows] == ["torchscript", "onnx"] * 3
    assert all(float(row["largest difference"]) <= 1e-5 for row in rows)
    assert all(int(row["bytes"]) > 10_000 for row in rows)
