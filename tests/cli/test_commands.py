"""The command line as a person types it: real processes, exit codes, one line for each mistake."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers import free_ports_config
from torchtowers.cli.main import main
from torchtowers.models.experiment import Trained

COMMANDS = (
    ["data"],
    ["data", "fetch"],
    ["data", "describe"],
    ["train"],
    ["tune"],
    ["evaluate"],
    ["export"],
    ["archive"],
    ["archive", "build"],
    ["archive", "inspect"],
    ["archive", "lint"],
    ["archive", "verify"],
    ["archive", "diff"],
    ["archive", "sign"],
    ["archive", "configure"],
    ["archive", "keygen"],
    ["serve"],
    ["serve", "start"],
    ["serve", "load"],
    ["serve", "tune"],
    ["serve", "stop"],
    ["serve", "status"],
    ["serve", "token"],
    ["deploy"],
    ["rollback"],
    ["status"],
    ["recommend"],
    ["demo"],
)


def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "torchtowers.cli.main", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **environment},
    )


def refused(*arguments: object, **environment: str) -> str:
    """Run a command that is the caller's mistake; give the one line that it ends with."""
    done = run(*arguments, **environment)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    *before, last = done.stderr.strip().splitlines()
    assert last.startswith("torchtowers: ")
    assert not [line for line in before if line.startswith("torchtowers: ")]
    return last


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_of_every_command_has_examples(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*command, "--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert "examples:" in shown
    assert f"torchtowers {' '.join(command)}" in shown.split("examples:")[1]


def test_the_program_itself_shows_the_whole_way(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    shown = capsys.readouterr().out
    for command in (
        "data fetch",
        "train",
        "export",
        "archive build",
        "serve start",
        "recommend",
        "serve stop",
    ):
        assert f"torchtowers {command}" in shown


def test_the_installed_program_runs() -> None:
    program = Path(sys.executable).parent / "torchtowers"
    done = subprocess.run([program, "--help"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert "torchtowers train" in done.stdout


def test_a_configuration_with_an_unknown_key(tmp_path: Path) -> None:
    said = refused("train", "configs/movielens-retrieval.yaml", "--out", tmp_path / "run", "model.depth=3")
    assert "model.depth: unknown key, got 3; allowed here: embedding_dim, query_hidden" in said
    assert not (tmp_path / "run").exists()


def test_a_configuration_with_a_value_of_the_wrong_type(tmp_path: Path) -> None:
    said = refused(
        "train", "configs/movielens-retrieval.yaml", "--out", tmp_path / "run", "training.epochs=ten"
    )
    assert "training.epochs: got ten, allowed: a valid integer" in said


def test_data_that_cannot_be_had(tmp_path: Path) -> None:
    said = refused(
        "train",
        "configs/movielens-retrieval.yaml",
        "--out",
        tmp_path / "run",
        XDG_CACHE_HOME=str(tmp_path / "cache"),
        PIP_NO_INDEX="1",
        PIP_FIND_LINKS="",
        PIP_CONFIG_FILE=os.devnull,
        https_proxy="http://127.0.0.1:9",
        HTTPS_PROXY="http://127.0.0.1:9",
    )
    assert "recbole" in said
    assert "grouplens" in said.lower()
    assert not (tmp_path / "run").exists()


def test_an_unknown_data_set() -> None:
    assert "movielens-100k" in refused("data", "fetch", "movielens-1b")


def test_folders_that_are_not_what_they_should_be(tmp_path: Path) -> None:
    assert "is not a run" in refused("evaluate", tmp_path)
    assert "is not a run" in refused("export", tmp_path, "--out", tmp_path / "artifact")
    assert "not an artifact" in refused(
        "archive", "build", tmp_path, "--name", "m", "--export-path", tmp_path
    )


def test_a_run_is_not_replaced_by_mistake(trained: Trained) -> None:
    before = trained.run.model_path.read_bytes()
    said = refused("train", trained.run.folder / "config.yaml", "--out", trained.run.folder)
    assert "--overwrite" in said
    assert trained.run.model_path.read_bytes() == before


def test_an_archive_is_built_and_told(artifact: Path, tmp_path: Path) -> None:
    done = run("archive", "build", artifact, "--name", "m", "--export-path", tmp_path, "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert Path(told["archive"]).stat().st_size == told["bytes"]
    assert len(told["sha256"]) == 64


@pytest.mark.parametrize(("option", "value"), [("--workers", "0"), ("--max-k", "-1"), ("--batch-size", "0")])
def test_settings_that_torchserve_would_ignore(
    artifact: Path, tmp_path: Path, option: str, value: str
) -> None:
    said = refused("archive", "build", artifact, "--name", "m", "--export-path", tmp_path, option, value)
    assert f"at least 1, got {value}" in said
    assert list(tmp_path.iterdir()) == []


def test_a_port_in_use(archives: Path, tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        changed = free_ports_config(tmp_path, grpc_inference_port=str(port))
        said = refused(
            "serve", "start", "--model-store", archives, "--config", changed, "--state", tmp_path / "s"
        )
    assert str(port) in said
    assert "grpc_inference_port" in said


def test_an_archive_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "fake.mar").write_text("not a zip file")
    config = free_ports_config(tmp_path)
    said = refused("serve", "start", "--model-store", tmp_path, "--config", config, "--state", tmp_path / "s")
    assert "fake.mar" in said


def test_asking_when_no_server_runs(tmp_path: Path) -> None:
    state = tmp_path / "s"
    assert "serve start" in refused("recommend", "m", '{"user_id": "1"}', "--state", state)
    assert "no server runs" in refused("serve", "stop", "--state", state)
    done = run("serve", "status", "--state", state)
    assert (done.returncode, done.stdout) == (1, "no server runs\n")


def test_a_request_that_is_no_json(tmp_path: Path) -> None:
    assert "not JSON" in refused("recommend", "m", "{user_id: 1}", "--state", tmp_path)
    assert "JSON object" in refused("recommend", "m", "[1]", "--state", tmp_path)
    assert "NaN is no number" in refused("recommend", "m", '{"user_id": NaN}', "--state", tmp_path)
    for flag in ("--filter", "--diversity"):
        asked = ("recommend", "m", '{"user_id": "1"}', flag)
        assert f"{flag} is not JSON" in refused(*asked, "year", "--state", tmp_path)
        assert f"{flag} has to be a JSON object" in refused(*asked, "[1]", "--state", tmp_path)
    deep = '{"a": ' * 5000 + "1" + "}" * 5000
    assert "nested too deeply" in refused("recommend", "m", deep, "--state", tmp_path)


def test_what_no_command_knows(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (
        ["train", "c.yaml", "--out", "r", "--epochs", "3"],
        ["evaluate", "r", "training.epochs=3"],
    ):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 2
        assert "unrecognized arguments" in capsys.readouterr().err
