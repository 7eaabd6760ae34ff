"""Tuning a real archive in real servers, and what it refuses before it starts one."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import yaml

from tests.servers import ROOT_CONFIG, processes_of, write_archive
from torchtowers.cli.main import main
from torchtowers.export.archive import build_archive
from torchtowers.export.signing import generate_key
from torchtowers.handlers.errors import UntrustedError
from torchtowers.handlers.seal import PUBLIC_KEY
from torchtowers.serving.archives import Archive
from torchtowers.serving.errors import ServingError
from torchtowers.serving.recorded import find_archive
from torchtowers.serving.tuning import tune
from torchtowers.serving.tuning_choice import Point
from torchtowers.serving.tuning_grid import Setting
from torchtowers.serving.tuning_report import write_tuning_report
from torchtowers.serving.tuning_result import Tuning

BROKEN = """
class Broken:
    def initialize(self, context):
        raise ValueError("it does not load")

    def handle(self, data, context):
        return data
"""


def never(archive: Path, config: Path, target: Path) -> None:
    raise AssertionError("nothing is to be started")


def copied(archive: Path, config: Path, target: Path) -> None:
    shutil.copyfile(archive, target)


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder below the system's own: a worker's socket has a path of 107 bytes at most."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        yield Path(folder)


def points() -> tuple[Point, ...]:
    present = Setting(32, 1, 1, 1)
    return (
        Point(present, 1000.0, 50.0, 60.0, 3.0),
        Point(replace(present, batch_size=8), 2000.0, 30.0, 40.0, 3.0),
        Point(replace(present, batch_size=1), failure="7 x 503 <b> with 64 clients"),
    )


def tuning(chosen: int | None = 1, limit: float = 4.0) -> Tuning:
    every = points()
    return Tuning(
        name="m<b>",
        clients=64,
        seconds=3.0,
        points=every,
        planned=3,
        most_latency=limit,
        chosen=None if chosen is None else every[chosen],
        config={"batchSize": 32, "responseTimeout": 7, "torchtowers": {"max_k": 9}},
    )


@pytest.mark.java
def test_the_best_setting_is_found_and_given_to_the_archive(
    artifact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "store"
    key = tmp_path / "key"
    generate_key(key)
    archive = build_archive(artifact, name="tiny", export_path=store, sign=key)
    before = archive.read_bytes()
    # The copies that are measured are not signed, and must do all the same.
    monkeypatch.setenv(PUBLIC_KEY, str(tmp_path / "key.pub"))
    children = psutil.Process().children(recursive=True)
    command = ["serve", "tune", "tiny", "--model-store", str(store), "--config", str(ROOT_CONFIG)]
    command += ["--batch-sizes", "1", "--delays", "1", "--workers", "1", "--threads", "1", "--clients", "4"]
    command += ["--seconds", "0.6", "--out", str(tmp_path / "out.yaml"), "--write", "--json"]
    command += ["--sign", str(key)]
    # So that one of them is taken, and not the one that the archive has.
    assert main([*command, "--most-latency", "1000", "--report", str(tmp_path / "tune.html")]) == 0
    told = capsys.readouterr()
    figures = json.loads(told.out)
    assert [figures["name"], figures["interrupted"]] == ["tiny", False]
    assert {point["batch_size"] for point in figures["points"]} == {1, 32}
    assert [point["present"] for point in figures["points"]].count(True) == 1
    (chosen,) = [point for point in figures["points"] if point["chosen"]]
    assert all(point["requests_per_second"] > 0 for point in figures["points"])
    content = yaml.safe_load((tmp_path / "out.yaml").read_text())
    assert content["batchSize"] == chosen["batch_size"]
    assert content["torchtowers"]["threads"] == 1
    assert content["jobQueueSize"] == 100
    assert "batch 1, 1 worker, 1 thread" in told.err
    assert "tiny: " in (tmp_path / "tune.html").read_text()
    assert archive.read_bytes() != before or content["batchSize"] == 32
    assert main(["archive", "verify", str(archive), "--public-key", str(tmp_path / "key.pub")]) == 0
    assert os.environ[PUBLIC_KEY] == str(tmp_path / "key.pub")
    assert psutil.Process().children(recursive=True) == children


@pytest.mark.java
def test_a_server_that_does_not_come_up_is_told_of_and_left_out(tmp_path: Path) -> None:
    write_archive(tmp_path, "broken", BROKEN, model_config="batchSize: 4\nmaxBatchDelay: 1\nminWorkers: 1\n")
    found = tune(
        tmp_path,
        find_archive(tmp_path, "broken"),
        [{"user_id": "1"}],
        copied,
        config=ROOT_CONFIG,
        batch_sizes=[4],
        delays=[1],
        workers=[1],
    )
    (point,) = found.points
    assert point.failure is not None
    assert point.failure.endswith("its worker died: ValueError: it does not load")
    assert found.chosen is None
    with pytest.raises(ServingError, match=r"broken: no setting works: .*it does not load"):
        found.to_yaml()


@pytest.mark.java
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_the_servers_end_with_the_tuner(sent: signal.Signals, archives: Path, short: Path) -> None:
    command = [sys.executable, "-m", "torchtowers.cli.main", "serve", "tune", "tiny-onnx"]
    command += ["--model-store", str(archives), "--config", str(ROOT_CONFIG), "--seconds", "0.5"]
    command += ["--batch-sizes", "1", "--delays", "1", "--clients", "2", "--out", str(short / "out.yaml")]
    environment = {**os.environ, "TMPDIR": str(short)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as caller:
        assert caller.stderr is not None
        # While a server comes up: for Ctrl-C the second one.
        for line in caller.stderr:
            if line.startswith("1 of " if sent == signal.SIGINT else "starting a server"):
                break
        # The tuner, what is beside it, the server and its worker.
        wait_for(lambda: len(processes_of(short)) >= 4)
        caller.send_signal(sent)
        printed, errors = caller.communicate(timeout=60)
    assert not (short / "out.yaml").exists()
    if sent == signal.SIGKILL:
        assert caller.returncode == -sent
        # Another process has seen that end, and is at it.
        wait_for(lambda: not processes_of(short))
    else:
        assert caller.returncode == 130, errors
        assert f"interrupted after {1 if sent == signal.SIGINT else 0} of" in errors
        assert "interrupted: no settings are written" in errors
        assert ("present" in printed) == (sent == signal.SIGINT)
        assert processes_of(short) == []
    assert list(short.iterdir()) == []


def test_what_is_out_of_range_is_told_before_anything_is_started(archives: Path) -> None:
    archive = find_archive(archives, "tiny-onnx")
    for changed, told in (
        ({"seconds": 0.0}, "--seconds: expected more than 0, got 0"),
        ({"most": -1.0}, "--most-latency: expected more than 0 ms, got -1"),
        ({"delays": [0]}, "TorchServe takes a delay of 0 for 100 ms"),
        ({"clients": 0}, "--clients: expected integers of at least 1"),
        ({"config": Path("none.properties")}, "no such configuration file"),
    ):
        with pytest.raises(ServingError, match=told):
            tune(archives, archive, [{}], never, **{"config": ROOT_CONFIG, **changed})  # type: ignore[arg-type]
    with pytest.raises(ServingError, match="no requests to send"):
        tune(archives, archive, [], never, config=ROOT_CONFIG)


def test_an_archive_that_is_not_signed_is_not_run(
    archives: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generate_key(tmp_path / "key")
    monkeypatch.setenv(PUBLIC_KEY, str(tmp_path / "key.pub"))
    with pytest.raises(UntrustedError, match=r"tiny-onnx\.mar is not signed"):
        tune(archives, find_archive(archives, "tiny-onnx"), [{}], never, config=ROOT_CONFIG)


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ("{", "model-config.yaml is no YAML"),
        ("[1]", "has to hold a mapping, got"),
        ("batchSize: 0", "batchSize: expected a positive integer, got 0"),
    ],
)
def test_an_archive_whose_settings_cannot_be_read(tmp_path: Path, config: str, told: str) -> None:
    write_archive(tmp_path, "echo", model_config=config)
    with pytest.raises(ServingError, match=told):
        tune(tmp_path, Archive("echo.mar", "echo", "1.0"), [{}], never, config=ROOT_CONFIG)


def test_the_command_refuses_what_it_cannot_measure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_archive(tmp_path, "echo")
    command = ["serve", "tune", "--model-store", str(tmp_path), "--config", str(ROOT_CONFIG)]
    assert main([*command, "nothing"]) == 2
    assert "nothing.mar: no such archive in the model store" in capsys.readouterr().err
    assert main([*command, "echo"]) == 2
    assert "holds no recorded requests (samples.json): give some with --input" in capsys.readouterr().err
    assert main([*command, "echo", "--write", "--sign", str(tmp_path / "none.key")]) == 2
    assert "private key" in capsys.readouterr().err


def test_settings_keep_every_other_key(tmp_path: Path) -> None:
    tuning().write(tmp_path / "out.yaml")
    assert yaml.safe_load((tmp_path / "out.yaml").read_text()) == {
        "batchSize": 8,
        "responseTimeout": 7,
        "torchtowers": {"max_k": 9, "threads": 1},
        "minWorkers": 1,
        "maxWorkers": 1,
        "maxBatchDelay": 1,
    }
    with pytest.raises(ServingError, match="the settings can't be written"):
        tuning().write(tmp_path / "none" / "out.yaml")


def test_no_choice_says_what_to_do(tmp_path: Path) -> None:
    none = tuning(chosen=None, limit=2.0)
    told = "no setting answers one client in 2 ms; the quickest takes 3.00 ms .*--most-latency"
    with pytest.raises(ServingError, match=told):
        none.write(tmp_path / "out.yaml")
    assert not (tmp_path / "out.yaml").exists()


def test_figures_are_ranked_and_marked() -> None:
    figures = tuning().to_json()["points"]
    assert [point["batch_size"] for point in figures] == [8, 32, 1]
    assert [point["ratio"] for point in figures] == [2.0, 1.0, None]
    assert [(point["present"], point["chosen"]) for point in figures] == [
        (False, True),
        (True, False),
        (False, False),
    ]


def test_a_picture(tmp_path: Path) -> None:
    write_tuning_report(tuning(), tmp_path / "tune.html")
    page = (tmp_path / "tune.html").read_text()
    assert "m&lt;b&gt;: batch 8, delay 1 ms" in page
    assert "7 x 503 &lt;b&gt; with 64 clients" in page
    assert page.count("<circle") == 2
    assert "(chosen)" in page
    assert "(present)" in page
    write_tuning_report(tuning(chosen=None, limit=2.0), tmp_path / "tune.html")
    assert "allow more with --most-latency" in (tmp_path / "tune.html").read_text()
    with pytest.raises(ServingError, match="picture can't be written"):
        write_tuning_report(tuning(), tmp_path / "no" / "tune.html")
