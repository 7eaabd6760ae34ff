"""Workers share an archive's index, ids, vocabularies and columns: a second one costs little memory."""

import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from torchtowers.export.archive import build_archive

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
ITEMS = 200_000
INDEX_BYTES = ITEMS * 64 * 4


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Unpacked archives of one model: with 500 items and users, and with 200,000 of both."""
    folder = tmp_path_factory.mktemp("large")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        large: Any = importlib.import_module("large")
    artifacts = {
        "small": large.make_small(folder),
        "large": large.make_artifact(folder, items=ITEMS, users=ITEMS),
    }
    return {
        name: build_archive(
            artifact, name=name, export_path=folder / "store", runtime="onnx", archive_format="no-archive"
        )
        for name, artifact in artifacts.items()
    }


class Worker:
    """A process that has loaded an archive as a worker does."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        assert process.stdout is not None
        assert process.stdout.readline(), "the archive can't be loaded"

    def ask(self, body: dict[str, Any]) -> Any:
        """Give the answer to a request."""
        assert self._process.stdout is not None
        print(json.dumps(body), file=self._process.stdin, flush=True)
        answered = json.loads(self._process.stdout.readline())
        assert answered["status"] == 200, answered
        return answered["answer"]

    @property
    def pss(self) -> int:
        """Its proportional set size in bytes."""
        return int(psutil.Process(self._process.pid).memory_full_info().pss)


@contextmanager
def worker(archive: Path) -> Iterator[Worker]:
    command = [sys.executable, "-I", str(BENCHMARKS / "handled.py"), str(archive)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Worker(process)
        finally:
            process.kill()


def added_by_a_second(archive: Path) -> int:
    """Give by how much the PSS of all workers grows."""
    body = {"user_id": "more1", "k": 500, "exclude": ["more2", "nothing"], "fields": ["title"]}
    with ExitStack() as stack:
        first = stack.enter_context(worker(archive))
        answer = first.ask(body)
        alone = first.pss
        second = stack.enter_context(worker(archive))
        assert second.ask(body) == answer
        return first.pss + second.pss - alone


@pytest.mark.skipif(sys.platform != "linux", reason="PSS is Linux's")
def test_a_second_worker_adds_less_than_a_sixth_of_the_index(archives: dict[str, Path]) -> None:
    by_size = added_by_a_second(archives["large"]) - added_by_a_second(archives["small"])
    assert by_size < 0.15 * INDEX_BYTES


def test_all_items_and_users_are_found(archives: dict[str, Path]) -> None:
    with worker(archives["large"]) as own:
        known, unknown = (own.ask({"user_id": user, "k": 1000}) for user in ("more1", "nobody"))
        first = next(item for item in known["items"] if item.startswith("more"))
        without = own.ask({"user_id": "more1", "k": 1000, "exclude": [first]})
    # What is known of a user of the last rows is filled in.
    assert known["items"] != unknown["items"]
    assert first not in without["items"]
