"""What the handler counts, what it describes, and that a row which fails costs its own request only."""

import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from openapi_spec_validator import validate

from tests.handlers.small import small_recommender
from tests.handlers.test_base import Worker
from torchtowers.handlers.errors import ArtifactError
from torchtowers.handlers.measures import measures
from torchtowers.handlers.recommender import Recommender
from torchtowers.handlers.retrieval_handler import RetrievalHandler

DESCRIBE = {"describe": "True"}
ONE = {"user_id": "u1", "k": 1}
ANSWER = {"items": ["12"], "scores": [4]}


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Worker]:
    made = Worker(tmp_path)
    made.handler.model = small_recommender(tmp_path)
    measures.take()
    yield made
    measures.take()


def counted(name: str) -> dict[tuple[str, ...], float]:
    return {labels: value for (metric, labels), value in measures.take().items() if metric == name}


class Fails(Recommender):
    """Fails for a row of user `u2`, whatever is asked beside it."""

    def answers(self, rows: Sequence[Any]) -> Iterator[bytes]:
        for row, answer in zip(rows, super().answers(rows), strict=True):
            if row.row.features["user_id"] == "u2":
                raise ZeroDivisionError("ours")
            yield answer


def test_a_row_that_fails_costs_its_own_request(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    worker = Worker(tmp_path)
    model = small_recommender(tmp_path)
    worker.handler.model = Fails(model.signature, model.search, model.columns, model.limits)
    measures.take()
    with caplog.at_level(logging.ERROR):
        answers = worker.ask(
            {"body": ONE},
            {"body": {"instances": [ONE, {"user_id": "u2"}]}},
            {"body": {"nothing": 1}},
            {"body": {"instances": [ONE, ONE]}},
        )
    assert [status for status, _ in answers] == [200, 500, 400, 200]
    assert answers[0][1] == ANSWER
    assert answers[1][1]["type"] == "internal_error"
    assert "ours" not in json.dumps(answers[1][1])
    assert answers[3][1] == {"predictions": [ANSWER, ANSWER]}
    lines = [json.loads(record.getMessage()) for record in caplog.records]
    assert [line["what"] for line in lines] == [
        "a batch could not be answered; its requests are answered one by one",
        "a request could not be answered",
    ]
    assert all(line["error"] == "ZeroDivisionError: ours" for line in lines)
    assert counted("torchtowers_requests_total") == {("ok",): 2, ("internal_error",): 1, ("bad_field",): 1}


def test_requests_rows_and_batches_are_counted(small: Worker) -> None:
    small.ask({"body": ONE}, {"body": {"instances": [ONE, {"user_id": "new"}]}}, {"body": b"{"})
    small.ask({"body": {"user_id": "u1", "min_score": 1e9}})
    taken = measures.take()

    def total(name: str, *labels: str) -> float:
        return taken.get((f"torchtowers_{name}", labels), 0)

    assert (total("requests_total", "ok"), total("requests_total", "bad_body")) == (3, 1)
    assert (total("rows_total"), total("unknown_ids_total"), total("empty_answers_total")) == (4, 1, 1)
    assert total("batches_total") == 2
    buckets = {bound: total("batch_size_bucket", bound) for bound in ("1", "2", "4", "+Inf")}
    assert buckets == {"1": 1, "2": 1, "4": 2, "+Inf": 2}
    assert total("batch_seconds_bucket", "+Inf") == 2
    stages = {labels[0]: value for (name, labels), value in taken.items() if "stage" in name}
    assert stages.keys() == {"encode", "tower", "index", "answer"}
    assert all(value > 0 for value in stages.values())
    assert sum(stages.values()) <= total("batch_seconds_sum")


def test_it_describes_itself_to_torchserve_alone(small: Worker) -> None:
    small.ask({"body": ONE}, headers=DESCRIBE)
    # The same call without a body; TorchServe takes the description whatever its content type is.
    (content,) = small.handler.handle([{}], small.context)
    told = json.loads(content)
    assert told.keys() == {"signature", "request", "answer", "openapi"}
    assert "files" not in told["signature"]
    validate(told["openapi"])
    # A client's own header changes nothing of its request, nor of those beside it.
    assert small.ask({"body": ONE}, headers=DESCRIBE) == [(200, ANSWER)]
    assert [status for status, _ in small.ask({}, {"body": ONE}, headers=DESCRIBE)] == [400, 200]
    ((status, _),) = small.ask({})
    assert status == 400


def test_there_is_nothing_to_describe_before_it_is_loaded() -> None:
    with pytest.raises(ArtifactError, match="before initialize"):
        RetrievalHandler().describe_handle()
