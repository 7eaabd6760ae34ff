import json
from pathlib import Path
from typing import Any

import pytest

from tests.servers import write_archive
from torchtowers.export.archive import build_archive
from torchtowers.handlers.agreement import Tolerance, tolerance_of
from torchtowers.handlers.samples import Sample, read_samples
from torchtowers.serving import Client
from torchtowers.serving.errors import AnswerError, ServingError, answer_error
from torchtowers.serving.golden import Comparison, compare, read_golden
from torchtowers.serving.recorded import recorded_samples

BODY = {"user_id": "1"}
OLD = {"items": ["a", "b", "c", "d"], "scores": [4.0, 3.0, 2.0, 1.0]}
BAD = answer_error("user_id: unknown", code=400, type="bad_field")


class Answers(Client):
    """A client that answers from a table, by version."""

    def __init__(self, answers: dict[str, Any]) -> None:
        super().__init__("http://127.0.0.1:1")
        self.answers = answers

    def predict(self, name: str, body: object, *, version: str | None = None, **_: Any) -> Any:
        answer = self.answers[str(version)]
        if isinstance(answer, AnswerError):
            raise answer
        return answer


def compared(new: Any, old: Any = OLD, answer: Any = None, tolerance: Tolerance | None = None) -> Comparison:
    with Answers({"2": new, "1": old}) as client:
        return compare(client, "m", "2", "1", [Sample(BODY, answer)], tolerance)


def test_recorded_answers_are_compared_within_what_the_precision_needs() -> None:
    near = {**OLD, "scores": [4.1, 3.05, 2.01, 0.98]}
    assert compared(near, answer=OLD, tolerance=tolerance_of("bfloat16", "retrieval")).requests == 1
    off = {**OLD, "scores": [4.0, 3.0, 2.0, 1.0009]}
    assert compared(off, answer=OLD, tolerance=tolerance_of("float32", "retrieval")).requests == 1
    for tolerance in (None, tolerance_of("float16", "retrieval")):
        with pytest.raises(ServingError, match=r"expected .*, got "):
            compared(near, answer=OLD, tolerance=tolerance)


def test_overlap_and_difference_by_hand() -> None:
    found = compared({"items": ["b", "a", "x", "c"], "scores": [4.0, 3.5, 3.0, 2.0]})
    assert found == Comparison(1, 1, 0.75, 1.0)
    assert str(found) == (
        "1 requests are answered; of 1 rows 75.0% of the items are the old version's, the largest "
        "difference of a score is 1"
    )


def test_rows_of_every_dialect() -> None:
    other = {"items": ["a", "x"], "scores": [4.0, 1.0]}
    both = compared({"predictions": [OLD, other]}, {"predictions": [OLD, OLD]})
    assert (both.compared, both.overlap) == (2, (1 + 0.25) / 2)
    tensors = {
        "outputs": [
            {"name": "items", "shape": [2, 2], "datatype": "BYTES", "data": ["a", "b", "c", "d"]},
            {"name": "scores", "shape": [2, 2], "datatype": "FP32", "data": [4.0, 3.0, 2.0, 1.0]},
        ]
    }
    assert compared(tensors, tensors) == Comparison(1, 2, 1.0, 0.0)
    assert compared({"label": "cat"}, {"label": "dog"}).overlap == 0


def test_an_error_of_both_is_no_failure_and_one_of_the_new_is() -> None:
    assert compared(BAD, BAD) == Comparison(1)
    assert compared(OLD, BAD) == Comparison(1)
    with pytest.raises(ServingError, match=r"golden request 1 .* to m 2 fails: user_id: unknown"):
        compared(BAD)


def test_the_recorded_answer_has_to_come_but_for_rounding() -> None:
    close = {"items": OLD["items"], "scores": [4.0001, 3.0, 2.0, 1.0]}
    assert compared(close, answer=OLD).overlap == 1
    for wrong in ({"items": ["a", "b", "c", "x"], "scores": [4.0, 3.0, 2.5, 2.0]}, {"label": "cat"}):
        with pytest.raises(ServingError, match=r"to m 2: expected \{.*, got \{"):
            compared(wrong, answer=OLD)


def test_a_score_that_is_no_number_fails() -> None:
    with pytest.raises(ServingError, match="is answered with nan, which is no number"):
        compared({"items": ["a"], "scores": [float("nan")]})


def test_the_first_version_is_compared_with_nothing() -> None:
    with Answers({"2": OLD}) as client:
        found = compare(client, "m", "2", None, [Sample(BODY, None)])
    assert found == Comparison(1)
    found.require(1.0, 0.0)


def test_thresholds() -> None:
    found = Comparison(1, 1, 0.75, 1.0)
    found.require(None, None)
    found.require(0.75, 1.0)
    with pytest.raises(ServingError, match=r"75\.0% of the items are the old one's, at least 80\.0%"):
        found.require(0.8, None)
    with pytest.raises(ServingError, match=r"a score differs by 1, at most 0\.5"):
        found.require(None, 0.5)


def test_requests_are_read(tmp_path: Path) -> None:
    path = tmp_path / "requests.jsonl"
    path.write_text(json.dumps(BODY) + "\n\n" + json.dumps({"request": BODY, "answer": OLD}) + "\n")
    assert read_golden(path) == [Sample(BODY, None), Sample(BODY, OLD)]
    for text, message in (
        ("", "no request in it"),
        ("{}\n[1]", r"jsonl:2: expected a JSON object"),
        ("{", ":1:"),
    ):
        path.write_text(text)
        with pytest.raises(ServingError, match=message):
            read_golden(path)
    with pytest.raises(ServingError, match="can't read the golden requests"):
        read_golden(tmp_path / "none")


@pytest.mark.parametrize("form", ["default", "tgz"])
def test_an_archive_has_its_own(artifact: Path, tmp_path: Path, form: str) -> None:
    built = build_archive(artifact, name="m", export_path=tmp_path, archive_format=form)
    assert recorded_samples(built) == read_samples(artifact / "samples.json")
    assert recorded_samples(write_archive(tmp_path, "other")) == ()
