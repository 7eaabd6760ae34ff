"""A load measurement of a real server, and of sockets that behave badly."""

import asyncio
import json
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.servers import free_ports
from torchtowers.cli.main import main
from torchtowers.handlers.agreement import tolerance_of
from torchtowers.serving import Server
from torchtowers.serving.errors import ServingError
from torchtowers.serving.load import LoadResult, measure_load
from torchtowers.serving.load_http import HttpLoad
from torchtowers.serving.load_record import Recorder
from torchtowers.serving.load_report import write_load_report

REQUESTS = [{"user_id": str(user)} for user in range(20)]


@pytest.fixture
def closing_port() -> Iterator[int]:
    """A server that reads a request and closes the connection without an answer."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0.05)
        over = threading.Event()

        def serve() -> None:
            while not over.is_set():
                try:
                    connection, _ = listening.accept()
                except TimeoutError:
                    continue
                with connection:
                    connection.settimeout(1)
                    connection.recv(10_000)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listening.getsockname()[1]
        over.set()
        thread.join(5)
        assert not thread.is_alive()


def run_client(port: int, seconds: float, timeout: float = 5.0) -> Recorder:
    recorder = Recorder([b"{}"], [None])
    recorder.measure(seconds)
    asyncio.run(HttpLoad(f"http://127.0.0.1:{port}", "/a", recorder, None, timeout).client())
    return recorder


@pytest.mark.java
@pytest.mark.parametrize("grpc", [False, True])
def test_every_answer_is_counted_and_compared(server: Server, grpc: bool) -> None:
    lines: list[str] = []
    result = measure_load(
        "echo",
        REQUESTS,
        clients=8,
        seconds=1.0,
        warm_up=0.2,
        grpc=grpc,
        state=server.state,
        progress=lines.append,
    )
    answered = len(result.milliseconds)
    assert answered > 20
    assert (result.failed, result.wrong, result.checked) == (0, 0, answered)
    assert result.requests_per_second == answered
    p50, p99 = result.percentile(50), result.percentile(99)
    assert p50 is not None
    assert p99 is not None
    assert 0 < p50 <= p99
    assert "20 requests one after the other" in lines[0]
    assert "0 errors" in lines[-1]


@pytest.mark.java
def test_wrong_answers_and_errors_are_told(server: Server) -> None:
    right = {"items": ["0", "é", "1.0"], "scores": [1.0, 0.5, 0.25]}
    requests = [{"user_id": "0"}, {"user_id": "1"}, {"raise": "a fault"}]
    result = measure_load(
        "echo", requests, expected=[right] * 3, clients=2, seconds=0.5, warm_up=0, state=server.state
    )
    assert result.wrong > 0
    assert result.wrong < result.checked == len(result.milliseconds)
    assert result.first_wrong is not None
    assert '{"user_id":"1"}' in result.first_wrong
    (kind,) = result.errors
    assert kind.startswith("503")


@pytest.mark.java
def test_a_request_that_fails_without_load_is_told_before(server: Server) -> None:
    with pytest.raises(ServingError, match=r'"no": 1.* gets an error without load: user_id: expected'):
        measure_load("echo", [{"user_id": "1"}, {"no": 1}], seconds=60, state=server.state)


@pytest.mark.java
def test_the_command_prints_figures_and_writes_a_picture(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "requests.jsonl").write_text("\n".join(map(json.dumps, REQUESTS)) + "\n\n")
    command = [
        "serve",
        "load",
        "echo",
        "--state",
        str(server.state),
        "--input",
        str(tmp_path / "requests.jsonl"),
    ]
    command += ["--clients", "4", "--seconds", "1", "--warm-up", "0"]
    assert main([*command, "--json", "--report", str(tmp_path / "load.html")]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["requests_per_second"] == figures["answered"] > 0
    page = (tmp_path / "load.html").read_text()
    assert f"{figures['requests_per_second']:,.0f} requests/s" in page
    assert main(command) == 0
    assert re.search(r"requests/s +p50 ms .* errors +wrong", capsys.readouterr().out)


def test_no_requests() -> None:
    with pytest.raises(ServingError, match="no requests to send"):
        measure_load("echo", [])


def test_lines_that_are_no_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "requests.jsonl"
    path.write_text('{"user_id": "1"}\n{nothing\n')
    assert main(["serve", "load", "echo", "--input", str(path)]) == 2
    assert "line 2 is no JSON: {nothing" in capsys.readouterr().err
    assert main(["serve", "load", "echo", "--input", str(tmp_path / "none.jsonl")]) == 2
    assert "can't be read" in capsys.readouterr().err


def test_a_connection_that_is_closed_without_an_answer(closing_port: int) -> None:
    recorder = run_client(closing_port, 0.3)
    (kind,) = recorder.errors
    assert kind == "the connection was closed before the answer"
    assert not len(recorder.milliseconds)


def test_nobody_listens() -> None:
    (port,) = free_ports(1)
    recorder = run_client(port, 0.2)
    (kind,) = recorder.errors
    assert kind.startswith("no connection")


def test_an_answer_that_does_not_come() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        recorder = run_client(silent.getsockname()[1], 0.2, timeout=0.1)
    assert dict(recorder.errors) == {"no answer within 0.1 s": 1}


@pytest.mark.parametrize(("precision", "wrong"), [("float32", 1), ("float16", 1), ("bfloat16", 0)])
def test_answers_are_compared_within_what_the_precision_needs(precision: str, wrong: int) -> None:
    expected, answer = ({"items": ["a"], "scores": [score]} for score in (2.0, 2.02))
    recorder = Recorder([b"{}"], [expected], tolerance_of(precision, "retrieval"))
    recorder.measure(1)
    for _ in range(2):  # the second time by its bytes, where it was right
        assert recorder.answered(0, 0.0, 200, json.dumps(answer).encode()) is None
    assert (recorder.checked, recorder.wrong) == (2, 2 * wrong)


def test_a_picture_without_any_answer(tmp_path: Path) -> None:
    recorder = Recorder([b"{}"], [None])
    recorder.measure(1)
    recorder.failed("503 <b>")
    result = LoadResult(
        name="a<b",
        clients=1,
        seconds=1.0,
        protocol="REST",
        milliseconds=np.array([], np.float32),
        finished=np.array([]),
        errors=dict(recorder.errors),
        checked=0,
        wrong=0,
        first_wrong=None,
    )
    write_load_report(result, tmp_path / "load.html")
    page = (tmp_path / "load.html").read_text()
    assert "503 &lt;b&gt;" in page
    assert "a&lt;b" in page
    assert "Answers by latency" not in page
    with pytest.raises(ServingError, match="picture can't be written"):
        write_load_report(result, tmp_path / "no" / "load.html")
