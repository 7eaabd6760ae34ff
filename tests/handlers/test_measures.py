"""Counters, and TorchServe's own cache of metrics that they are sent to."""

import gc
import logging
import threading
import time
import warnings
from pathlib import Path
from typing import Any

import pytest

from torchtowers.handlers.measures import METRICS, MODEL, Measures, Reporter

ts = pytest.importorskip("ts.metrics.metric_cache_yaml_impl")

LISTED = """
model_metrics:
  counter:
    - {name: torchtowers_rows_total, unit: count, dimensions: [model_name, model_version]}
"""


@pytest.fixture
def cache(tmp_path: Path) -> Any:
    path = tmp_path / "metrics.yaml"
    path.write_text(LISTED)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # ts leaves the file open
        made = ts.MetricsCacheYamlImpl(config_file_path=str(path))
        gc.collect()
    made.initialize_cache()
    return made


def test_counts_are_added_up_and_taken_once() -> None:
    measures = Measures()
    measures.add("torchtowers_rows_total", 2)
    measures.add("torchtowers_rows_total", 3)
    measures.add("torchtowers_requests_total", 1, "ok")
    assert measures.take() == {("torchtowers_rows_total", ()): 5, ("torchtowers_requests_total", ("ok",)): 1}
    assert measures.take() == {}


def test_a_histogram_counts_every_bucket_from_the_value_on() -> None:
    measures = Measures()
    for value in (1, 2, 3, 99):
        measures.observe("torchtowers_batch_size", value, (1, 2, 4))
    buckets = {labels[0]: count for (_, labels), count in measures.take().items()}
    assert buckets == {"1": 1, "2": 2, "4": 3, "+Inf": 4}


def test_a_stage_is_timed_also_where_it_fails() -> None:
    measures = Measures()

    @measures.stage("tower")
    def fail() -> None:
        time.sleep(0.01)
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        fail()
    ((key, seconds),) = measures.take().items()
    assert key == ("torchtowers_stage_seconds_total", ("tower",))
    assert 0.01 <= seconds < 1


def test_metrics_go_out_as_lines_that_torchserve_reads(cache: Any, caplog: pytest.LogCaptureFixture) -> None:
    measures = Measures()
    reporter = Reporter(cache, ("movies", "1.0"), measures)
    measures.add("torchtowers_rows_total", 2)
    measures.add("torchtowers_stage_seconds_total", 0.5, "tower")
    with caplog.at_level(logging.INFO):
        reporter.send()
        reporter.send()
    lines = [record.getMessage() for record in caplog.records if "[METRICS]" in record.getMessage()]
    assert len(lines) == 2
    assert lines[0].startswith(
        "[METRICS]torchtowers_rows_total.Count:2|#model_name:movies,model_version:1.0|#type:COUNTER|#hostname:"
    )
    assert "#model_name:movies,model_version:1.0,stage:tower|" in lines[1]


def test_a_thread_sends_until_it_is_stopped(cache: Any, caplog: pytest.LogCaptureFixture) -> None:
    measures = Measures()
    reporter = Reporter(cache, ("movies", "1.0"), measures, interval=0.01)
    with caplog.at_level(logging.INFO):
        reporter.start()
        measures.add("torchtowers_batches_total", 1)
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline and "torchtowers_batches_total.Count:1" not in caplog.text:
            time.sleep(0.01)
    reporter.stop()
    assert "torchtowers_batches_total.Count:1" in caplog.text
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and any(
        thread.name == "torchtowers-metrics" for thread in threading.enumerate()
    ):
        time.sleep(0.01)
    assert all(thread.name != "torchtowers-metrics" for thread in threading.enumerate())


def test_a_metric_that_fails_does_not_end_the_thread(caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        def __init__(self) -> None:
            self.cache: dict[Any, Any] = {}

        def add_metric_to_cache(self, *_: Any) -> Any:
            raise RuntimeError("no room")

    measures = Measures()
    reporter = Reporter(Broken(), ("movies", "1.0"), measures, interval=0.01)
    reporter.start()
    for _ in range(2):
        caplog.clear()
        measures.add("torchtowers_batches_total", 1)
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline and "no room" not in caplog.text:
            time.sleep(0.01)
        assert "metrics could not be sent" in caplog.text
    reporter.stop()


def test_the_names_are_those_of_prometheus() -> None:
    for name, labels in METRICS.items():
        assert name.startswith("torchtowers_")
        assert name.endswith(("_total", "_bucket", "_sum"))
        assert not set(labels) & set(MODEL)
