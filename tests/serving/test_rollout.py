"""Versions that take each other's place on one real server while 64 clients ask it."""

import json
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.servers import ECHO_HANDLER, free_ports_config, running, write_archive
from tests.serving.load import load
from torchtowers.cli.main import main
from torchtowers.export.archive import build_archive
from torchtowers.handlers.errors import ArtifactError, TowersError
from torchtowers.serving import Client, Server, deploy, rollback, rollout_status
from torchtowers.serving.errors import ServerStartError, ServingError

pytestmark = pytest.mark.java

CLIENTS = 64
CONFIG = "minWorkers: 1\nmaxWorkers: 1\nbatchSize: 8\nmaxBatchDelay: 1\n"
BODY = {"user_id": "7"}

RAISES = ECHO_HANDLER.replace(
    "self.version = context", 'raise ValueError("index/ids.bin is missing")\n        self.version = context'
)
SLOW = ECHO_HANDLER.replace("self.version = context", "time.sleep(4)\n        self.version = context")
FAILS = ECHO_HANDLER.replace('if "raise" in body:', "if True:").replace('body["raise"]', '"broken"')
NAN = ECHO_HANDLER.replace("[1.0, 0.5, 0.25]", '[float("nan"), 0.5, 0.25]')
OTHER = ECHO_HANDLER.replace("[1.0, 0.5, 0.25]", "[1.0, 0.7, 0.25]")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that takes deploys, with `m` 1.0."""
    folder = tmp_path_factory.mktemp("rollout")
    store = folder / "store"
    store.mkdir()
    write_archive(store, "m", version="1.0", file="first.mar", model_config=CONFIG)
    with running(store, free_ports_config(folder), folder / "state", allow_deploy=True) as server:
        yield server


@pytest.fixture
def built(tmp_path: Path) -> Path:
    folder = tmp_path / "built"
    folder.mkdir()
    return folder


def default_of(server: Server) -> str:
    return next(version.version for version in rollout_status("m", state=server.state) if version.default)


def all_of(server: Server) -> set[str]:
    return {version.version for version in rollout_status("m", state=server.state)}


def store_of(server: Server) -> set[str]:
    return {path.name for path in Path(server.record.model_store).iterdir()}


def archive(folder: Path, version: str, handler: str = ECHO_HANDLER) -> Path:
    return write_archive(folder, "m", handler, version=version, model_config=CONFIG)


def test_a_good_version_takes_over_and_goes_back(served: Server, built: Path) -> None:
    said: list[str] = []
    with load(served.state, "m", BODY, clients=CLIENTS) as seen:
        seen.wait_for(200)
        done = deploy(
            archive(built, "2.0"),
            state=served.state,
            progress=said.append,
        )
        assert (done.version, done.before, done.old_stays) == ("2.0", "1.0", False)
        seen.wait_for(200, "2.0")
        assert all_of(served) == {"2.0"}
        (told,) = rollout_status("m", state=served.state)
        assert (told.default, told.rollback, told.archive) == (True, "1.0", "m-2.0.mar")
        back = rollback("m", state=served.state)
        assert (back.version, back.before) == ("1.0", "2.0")
        seen.wait_for(200, "1.0")
    assert seen.failures == []
    assert all_of(served) == {"1.0"}
    assert said[-1] == "m 1.0: unregistered, all it was asked is answered"


def corrupt(path: Path) -> Path:
    content = bytearray(path.read_bytes())
    place = content.index(b"class Echo")
    content[place : place + 4] = b"klas"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("handler", "golden", "error", "message"),
    [
        (None, None, ArtifactError, r"m-9\.mar: damaged \(Bad CRC-32 for file 'm_handler\.py'\)"),
        (RAISES, None, ServerStartError, r"its worker died: ValueError: index/ids\.bin is missing; its log"),
        (FAILS, BODY, ServingError, r"golden request 1 .* to m 9 fails: Prediction failed"),
        (NAN, BODY, ServingError, r"golden request 1 .* to m 9 is answered with nan, which is no number"),
        (
            OTHER,
            {"request": BODY, "answer": {"items": ["7", "\u00e9", "9"], "scores": [1.0, 0.5, 0.25]}},
            ServingError,
            r"golden request 1 .* to m 9: expected \{'items'.* 0\.5, .*\}, got \{'items'.* 0\.7, .*\}",
        ),
        (OTHER, BODY, ServingError, r"a score differs by 0\.2, at most 0\.1 is asked for"),
    ],
    ids=["corrupt", "raises", "fails", "nan", "wrong", "differs"],
)
def test_a_broken_version_leaves_the_old_one(
    served: Server, built: Path, handler: str | None, golden: object, error: type[Exception], message: str
) -> None:
    before = store_of(served)
    file = archive(built, "9", handler or ECHO_HANDLER)
    if handler is None:
        corrupt(file)
    requests = built / "golden.jsonl"
    requests.write_text(json.dumps(golden))
    with load(served.state, "m", BODY, clients=CLIENTS) as seen:
        with pytest.raises(error, match=message):
            deploy(
                file, state=served.state, golden=requests if golden else None, max_difference=0.1, timeout=60
            )
        assert all_of(served) == {"1.0"}
        seen.wait_for(200, "1.0")
    assert seen.failures == []
    assert set(seen.answers) == {"1.0"}
    assert store_of(served) == before


def test_a_slow_version_is_waited_for_and_its_time_is_limited(served: Server, built: Path) -> None:
    file = archive(built, "3.0", SLOW)
    with load(served.state, "m", BODY, clients=CLIENTS) as seen:
        with pytest.raises(ServerStartError, match=r"m 3\.0: not ready after 2 s"):
            deploy(file, state=served.state, timeout=2)
        assert all_of(served) == {"1.0"}
        assert deploy(file, state=served.state).version == "3.0"
        rollback("m", state=served.state)
        seen.wait_for(100, "1.0")
    assert seen.failures == []
    assert all_of(served) == {"1.0"}


@pytest.mark.parametrize(
    ("workers", "pinned"),
    [
        (1, None),
        (2, "1.0"),
        pytest.param(1, "1.0", marks=pytest.mark.slow),
        pytest.param(2, None, marks=pytest.mark.slow),
    ],
)
def test_what_the_old_version_was_asked_is_answered(
    served: Server, built: Path, workers: int, pinned: str | None
) -> None:
    name = f"slow{workers}{pinned}".replace(".", "").lower()
    config = CONFIG.replace("Workers: 1", f"Workers: {workers}").replace("batchSize: 8", "batchSize: 1")
    for version in ("1.0", "2.0"):
        write_archive(built, name, version=version, file=f"{name}-{version}.mar", model_config=config)
    first = deploy(built / f"{name}-1.0.mar", state=served.state)
    assert first.before is None
    answers: list[object] = []

    def ask() -> None:
        with Client.from_state(served.state) as client:
            answers.append(client.predict(name, {**BODY, "sleep": 2}, version=pinned)["items"][-1])

    # More than the workers take at once: some wait in the queue.
    threads = [threading.Thread(target=ask) for _ in range(workers + 1)]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    began = time.monotonic()
    done = deploy(built / f"{name}-2.0.mar", state=served.state)
    for thread in threads:
        thread.join()
    assert answers == ["1.0"] * len(threads)
    assert not done.old_stays
    assert time.monotonic() - began > 2


def test_a_version_that_is_still_asked_for_stays(served: Server, built: Path) -> None:
    with load(served.state, "m", BODY, clients=8, version="1.0") as pinned:
        pinned.wait_for(8)
        done = deploy(archive(built, "4.0"), state=served.state, drain=2)
        assert done.old_stays
        assert default_of(served) == "4.0"
        pinned.wait_for(8)
    assert pinned.failures == []
    assert all_of(served) == {"1.0", "4.0"}
    # It goes back without loading anything.
    assert not rollback("m", state=served.state).old_stays
    assert all_of(served) == {"1.0"}


def command(*words: object) -> list[str]:
    return [sys.executable, "-m", "torchtowers.cli.main", *map(str, words)]


def wait_until(condition: Callable[[], bool], seconds: float = 30) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("when", "sent"),
    [
        ("loading", signal.SIGKILL),
        ("draining", signal.SIGKILL),
        ("draining", signal.SIGINT),
        pytest.param("loading", signal.SIGINT, marks=pytest.mark.slow),
        pytest.param("draining", signal.SIGTERM, marks=pytest.mark.slow),
    ],
)
def test_a_deploy_that_is_ended(served: Server, built: Path, sent: signal.Signals, when: str) -> None:
    before = store_of(served)
    file = archive(built, "5.0", SLOW if when == "loading" else ECHO_HANDLER)
    with load(served.state, "m", BODY, clients=CLIENTS) as seen, Client.from_state(served.state) as client:
        holder = threading.Thread(target=client.predict, args=("m", {**BODY, "sleep": 4}))
        if when == "draining":
            seen.wait_for(64)
        with subprocess.Popen(command("deploy", file, "--state", served.state)) as process:
            wait_until(lambda: "5.0" in all_of(served))
            if when == "draining":
                holder.start()
                wait_until(lambda: default_of(served) == "5.0")
                time.sleep(0.3)
            process.send_signal(sent)
            assert process.wait(60) == (130 if sent == signal.SIGINT else -sent)
        wait_until(lambda: all_of(served) == {"1.0"})
        seen.wait_for(100, "1.0")
        if when == "draining":
            holder.join()
    assert seen.failures == []
    wait_until(lambda: not (served.state / "rollout.json").exists())
    assert store_of(served) == before


def test_an_archives_own_requests_are_asked(
    served: Server, artifact: Path, built: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for version in ("1.0", "2.0"):
        file = build_archive(artifact, name="tiny", version=version, export_path=built / version)
        assert main(["deploy", str(file), "--state", str(served.state), "--json", "--min-overlap", "1"]) == 0
        told = json.loads(capsys.readouterr().out)
    assert (told["version"], told["before"], told["old_stays"]) == ("2.0", "1.0", False)
    assert told["golden"]["requests"] > 0
    assert (told["golden"]["overlap"], told["golden"]["largest_difference"]) == (1, 0)
    (left,) = rollout_status("tiny", state=served.state)
    assert (left.version, left.rollback) == ("2.0", "1.0")


def test_what_can_not_be_deployed(served: Server, built: Path) -> None:
    before = store_of(served)
    with pytest.raises(ServingError, match=r"m 1\.0 is on the server already: .*--version"):
        deploy(archive(built, "1.0"), state=served.state)
    with pytest.raises(ServingError, match="workers: expected 1 or more, got 0"):
        deploy(archive(built, "9"), state=served.state, workers=0)
    with pytest.raises(TowersError, match=r"none\.mar"):
        deploy(built / "none.mar", state=served.state)
    with pytest.raises(ServingError, match=r"nothing: nothing was deployed over an earlier version"):
        rollback("nothing", state=served.state)
    with pytest.raises(ServingError, match=r"nothing: no such model on the server"):
        rollout_status("nothing", state=served.state)
    assert store_of(served) == before


def test_a_restart_serves_what_was_deployed(built: Path, tmp_path: Path) -> None:
    store, state = tmp_path / "store", tmp_path / "state"
    store.mkdir()
    write_archive(store, "m", version="1.0", model_config=CONFIG)
    config = free_ports_config(tmp_path)
    with running(store, config, state, allow_deploy=True) as server:
        deploy(archive(built, "2.0"), state=state)
    # One that was under way when its server ended, and left its archive.
    (state / "rollout.json").write_text(
        json.dumps(
            {
                "time": "never",
                "store": str(store),
                "name": "m",
                "new": "3.0",
                "file": "m-3.0.mar",
                "placed": True,
                "registered": False,
                "old": "2.0",
            }
        )
    )
    shutil.copyfile(archive(built, "3.0"), store / "m-3.0.mar")
    # And one that is damaged, beside the good ones.
    corrupt(write_archive(store, "bad"))
    with running(store, config, state) as server:
        assert [(model.version, model.default) for model in server.models] == [("2.0", True)]
        assert store_of(server) == {"m.mar", "m-2.0.mar", "bad.mar"}
        with pytest.raises(ServingError, match=r"takes no new models: .*--allow-deploy"):
            deploy(archive(built, "4.0"), state=state)
        assert store_of(server) == {"m.mar", "m-2.0.mar", "bad.mar"}
        assert all_of(server) == {"2.0"}


def test_status_of_a_server_that_does_not_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["status"], ["rollback", "m"], ["deploy", "m.mar"]):
        assert main([*words, "--state", str(tmp_path)]) == 2
        assert "no server runs in" in capsys.readouterr().err


def test_status_is_a_table_or_json(served: Server, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "m", "--state", str(served.state)]) == 0
    header, row = capsys.readouterr().out.splitlines()
    assert header.split()[:2] == ["model", "version"]
    assert row.split()[:5] == ["m", "1.0", "default", "1/1", "0"]
    assert main(["status", "--json", "--state", str(served.state)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {"name": "m", "version": "1.0", "default": True}.items() <= told[0].items()
