"""TorchServe's own service with our reading and writing in it."""

import os
import subprocess
import sys
from typing import Any

import pytest

from torchtowers.handlers.worker_hooks import LastTime

pytest.importorskip("ts.service")

_SERVE = """
import logging
from ts.model_service_worker import TorchModelServiceWorker
from ts.service import Service
from torchtowers.handlers.worker_hooks import LastTime, take_over_batches
from torchtowers.handlers.worker_reads import Arrived

logging.basicConfig(level=logging.INFO, format="%(message)s")
sent = []
class Metrics:
    request_ids = None
    def add_time(self, *given): sent.append(given)

def handle(data, context):
    logging.info("handled %s", context.get_request_id(1))
    context.set_response_content_type(0, "application/json")
    numbers = [context.get_all_request_header(place)["x"] for place in range(len(data))]
    return [number.encode() + item["body"] for number, item in zip(numbers, data)]

metrics = Metrics()
service = Service("m", "", {}, handle, None, 2, metrics_cache=metrics)
service.set_cl_socket(None)
assert take_over_batches()
last = LastTime(metrics)
logging.info("Backend received inference at: %d", 12)
batch = [Arrived(b"id-%d" % number, {"x": str(number)}, {"body": b"ab"}) for number in (1, 2)]
answer = service.predict(batch)
assert sent == []
last.send()
(name, seconds), = sent
print(name, 0 <= seconds < 1000, *(part in answer for part in (b"id-1", b"1ab", b"2ab")))
print(answer.endswith(bytes([255] * 4)))
"""


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=dict(os.environ)
    )


def test_the_service_answers_and_writes_no_line_a_batch() -> None:
    done = run(_SERVE)
    assert done.stdout.strip() == "PredictionTime True True True True\nTrue"
    assert done.stderr.strip().splitlines() == ["handled id-2"]


def test_the_last_time_is_sent_once_and_others_at_once() -> None:
    class Metrics:
        def __init__(self) -> None:
            self.sent: list[Any] = []

        def add_time(self, *given: Any, **options: Any) -> None:
            self.sent.append((given, options))

    metrics = Metrics()
    last = LastTime(metrics)
    last.send()
    metrics.add_time("PredictionTime", 1.0)
    metrics.add_time("PredictionTime", 2.0)
    metrics.add_time("Own", 3.0, unit="s")
    assert metrics.sent == [(("Own", 3.0), {"unit": "s"})]
    last.send()
    last.send()
    assert metrics.sent[1:] == [(("PredictionTime", 2.0), {})]


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        ("pass", "False"),
        ("import ts.service", "False"),
        ("from ts.model_service_worker import TorchModelServiceWorker", "True True"),
        ("from ts.model_service_worker import *; import ts; ts.__version__ = '0.13.0'", "False False"),
    ],
)
def test_only_a_worker_of_the_known_version_is_changed(before: str, expected: str) -> None:
    done = run(f"""
{before}
import sys
from torchtowers.handlers import worker_hooks, worker_reads
done = worker_hooks.take_over_batches()
protocol = sys.modules.get("ts.protocol.otf_message_handler") if "worker" in {before!r} else None
readers = [protocol._retrieve_inference_msg] if protocol else []
print(done, *(reader is worker_reads.retrieve_inference_message for reader in readers))
""")
    assert done.stdout.strip() == expected
