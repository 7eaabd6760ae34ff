"""Log lines that a machine reads."""

import json
import logging
from pathlib import Path

import pytest

from torchtowers.handlers.log_lines import log_event, log_failure


def test_an_event_is_one_line_of_json(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "torchtowers"):
        log_event("loaded", model="movies\nx", path=Path("a"), seconds=0.5)
    (record,) = caplog.records
    assert record.levelno == logging.INFO
    assert "\n" not in record.getMessage()
    assert json.loads(record.getMessage()) == {
        "event": "loaded",
        "model": "movies\nx",
        "path": "a",
        "seconds": 0.5,
    }


def test_a_failure_tells_its_trace_and_request(caplog: pytest.LogCaptureFixture) -> None:
    try:
        raise ValueError("no 100% \ud800 answer")
    except ValueError as error:
        log_failure("a request could not be read", error, "6e1f")
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    line = json.loads(record.getMessage())
    assert line["event"] == "failure"
    assert line["what"] == "a request could not be read"
    assert line["error"] == "ValueError: no 100% \ud800 answer"
    assert line["request_id"] == "6e1f"
    assert "test_log_lines.py" in line["trace"]


def test_a_long_trace_keeps_its_end(caplog: pytest.LogCaptureFixture) -> None:
    log_failure("it failed", ValueError("x" * 50_000 + "end"))
    line = json.loads(caplog.records[0].getMessage())
    assert len(line["trace"]) == 20_000
    assert line["trace"].endswith("end\n")
    assert len(line["error"]) < 1_000
