import threading
from pathlib import Path

import pytest

from torchtowers.serving.logs import LogReader, last_error

WORKER = "W-9000-movies_1.0"


def _log(path: Path, thread: str, *messages: str, logger: str = "MODEL_LOG") -> None:
    with path.open("a") as file:
        for message in messages:
            file.write(f"2025-01-01T00:00:00,000 [INFO ] {thread} {logger} - {message}\n")


@pytest.fixture
def reader(tmp_path: Path) -> LogReader:
    return LogReader(tmp_path)


def test_the_last_line_of_the_last_traceback(reader: LogReader) -> None:
    _log(
        reader.model,
        f"{WORKER}-stdout",
        "model_name: movies, batchSize: 1",
        "Traceback (most recent call last):",
        '  File "a.py", line 1, in <module>',
        "KeyError: 'a'",
        "",
        "During handling of the above exception, another exception occurred:",
        "",
        "Traceback (most recent call last):",
        "    raise ArtifactError(text)",
        "torchtowers.handlers.errors.ArtifactError: index/ids.bin: expected 12 bytes, got 3",
        "a second line of the message",
    )
    assert reader.last_error(WORKER) == (
        "torchtowers.handlers.errors.ArtifactError: index/ids.bin: expected 12 bytes, got 3"
    )


def test_other_workers_errors_are_not_its_own(reader: LogReader) -> None:
    _log(reader.model, "W-9001-books_1.0-stdout", "Traceback (most recent call last):", "KeyError: 'a'")
    assert reader.last_error(WORKER) is None


def test_an_import_that_failed_in_a_handler_is_not_masked(reader: LogReader) -> None:
    _log(
        reader.model,
        f"{WORKER}-stdout",
        "Traceback (most recent call last):",
        "ModuleNotFoundError: No module named 'yaml'",
        "During handling of the above exception, another exception occurred:",
        "Traceback (most recent call last):",
        "ModuleNotFoundError: No module named 'ts.torch_handler.movies_handler'",
    )
    assert reader.last_error(WORKER) == "ModuleNotFoundError: No module named 'yaml'"


def test_words_that_the_server_lost_come_from_the_next_process(reader: LogReader) -> None:
    _log(
        reader.server, WORKER, "Retry worker: 9000 in 1 seconds.", logger="org.pytorch.serve.wlm.WorkerThread"
    )

    def fail_again() -> None:
        _log(reader.model, f"{WORKER}-stdout", "Traceback (most recent call last):", "KeyError: 'a'")

    # Later than the last lines of the first process could come.
    later = threading.Timer(3.0, fail_again)
    later.start()
    assert last_error(WORKER, reader) == "KeyError: 'a'"
    later.join()


def test_a_worker_that_is_killed_twice_has_said_nothing(reader: LogReader) -> None:
    for _ in range(2):
        _log(
            reader.server,
            WORKER,
            "Retry worker: 9000 in 1 seconds.",
            logger="org.pytorch.serve.wlm.WorkerThread",
        )
    assert reader.attempts(WORKER) == 2
    assert last_error(WORKER, reader) == "without a word (killed, or out of memory?)"


def test_a_worker_that_ended_without_traceback(reader: LogReader) -> None:
    _log(reader.model, f"{WORKER}-stdout", "Torch worker started.")
    assert reader.last_words(WORKER) is None
    _log(reader.model, f"{WORKER}-stderr", "Fatal Python error: Segmentation fault", "[PID]12")
    assert reader.last_words(WORKER) == "Fatal Python error: Segmentation fault"


@pytest.mark.parametrize(
    "message", ["Load model failed: movies, error: Worker died.", "Retry worker: 9000 in 1 seconds."]
)
def test_a_dead_worker(reader: LogReader, message: str) -> None:
    _log(
        reader.server,
        WORKER,
        "Connecting to: /tmp/.ts.sock.9000",
        logger="org.pytorch.serve.wlm.WorkerThread",
    )
    assert reader.dead_worker() is None
    _log(reader.server, WORKER, message, logger="org.pytorch.serve.wlm.WorkerThread")
    assert reader.dead_worker() == WORKER


def test_whose_worker_it_is(reader: LogReader) -> None:
    assert reader.runs(WORKER, "movies", "1.0")
    assert not reader.runs(WORKER, "movies", "2.0")
    # Threads are named by the first 25 characters.
    assert reader.runs("W-9000-a-rather-long-name-of-a-m", "a-rather-long-name-of-a-model", "1.0")


def test_what_earlier_servers_logged_is_not_read(tmp_path: Path) -> None:
    before = LogReader(tmp_path)
    _log(before.server, WORKER, *["Retry worker: 9000 in 1 seconds."] * 3)
    after = LogReader(tmp_path)
    assert after.dead_worker() is None
    _log(before.server, "W-9001-books_1.0", "Retry worker: 9001 in 1 seconds.")
    assert after.dead_worker() == "W-9001-books_1.0"
    # Rolled over: shorter than it was.
    before.server.write_text("")
    _log(before.server, WORKER, "Retry worker: 9000 in 1 seconds.")
    assert after.dead_worker() == WORKER


def test_an_archive_that_the_server_refuses(reader: LogReader) -> None:
    assert reader.refused_archive() is None
    _log(reader.server, "main", "Failed to load model: a.mar", logger="org.pytorch.serve.ModelServer")
    with reader.server.open("a") as file:
        file.write(
            "org.pytorch.serve.archive.model.InvalidModelException: Failed to parse signature.json.\n\tat x\n"
        )
    assert reader.refused_archive() == ("a.mar", "Failed to parse signature.json.")


@pytest.mark.parametrize(
    ("console", "complaint"),
    [
        ("", None),
        ("WARNING: sun.reflect\nnvidia-smi not available\n", None),
        ("Unrecognized VM option 'X'\nError: Could not create it.\n", "Unrecognized VM option 'X'"),
        (
            "WARNING: a\nsome words\njava.io.IOException: Failed to bind to address /127.0.0.1:7070\n"
            "\tat a.b(C.java)\nCaused by: a.B: bind(..) failed\n"
            'Exception in thread "x" java.lang.Y: event executor terminated\n',
            "java.io.IOException: Failed to bind to address /127.0.0.1:7070",
        ),
    ],
)
def test_why_the_server_ended(reader: LogReader, console: str, complaint: str | None) -> None:
    reader.console.write_text(console)
    assert reader.first_complaint() == complaint
