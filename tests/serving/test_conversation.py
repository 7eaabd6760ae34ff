from collections.abc import Sequence
from typing import Any

import pytest

from torchtowers.serving.conversation import Ask, Pause, Renew, Retry, converse, rows_of
from torchtowers.serving.errors import (
    AnswerError,
    AnswerTimeoutError,
    BadRequestError,
    ModelNotFoundError,
    OverloadedError,
    ServerNotRunningError,
    ServingError,
    answer_error,
)

FULL = answer_error("queue", code=503, type="ServiceUnavailableException")
DIED = answer_error("Worker died.", code=507, type="InternalServerException")
FAILED = answer_error("Prediction failed", code=503, type="InternalServerException")
BAD = answer_error("user_id: missing", code=400, type="bad_field")
EXPIRED = answer_error("Token", code=400, type="InvalidKeyException")
NOBODY = ServerNotRunningError("no server answers")


def talk(
    answers: Sequence[Any], *, times: int = 5, timeout: float = 30.0, renewable: bool = False
) -> tuple[Any, list[Ask | Pause | Renew]]:
    """Drive a conversation whose server gives `answers` in turn; give how it ended and its steps."""
    steps = converse("m", "key", renewable=renewable, timeout=timeout, retry=Retry(times))
    taken: list[Ask | Pause | Renew] = []
    left = iter(answers)
    try:
        step = next(steps)
        while True:
            taken.append(step)
            if isinstance(step, Pause):
                step = next(steps)
            elif isinstance(step, Renew):
                step = steps.send("new")
            else:
                answer = next(left)
                step = steps.throw(answer) if isinstance(answer, ServingError) else steps.send(answer)
    except StopIteration as done:
        return done.value, taken
    except ServingError as error:
        return error, taken


def asks(taken: Sequence[Ask | Pause | Renew]) -> int:
    return sum(isinstance(step, Ask) for step in taken)


@pytest.mark.parametrize("passing", [FULL, DIED, NOBODY, answer_error("", code=502, type="unknown")])
def test_what_passes_is_tried_again(passing: ServingError) -> None:
    answer, taken = talk([passing, passing, {"items": []}])
    assert answer == {"items": []}
    assert [type(step) for step in taken] == [Ask, Pause, Ask, Pause, Ask]


@pytest.mark.parametrize("final", [FAILED, BAD, answer_error("", code=500, type="InternalServerException")])
def test_what_is_final_is_not(final: AnswerError) -> None:
    error, taken = talk([final])
    assert error is final
    assert asks(taken) == len(taken) == 1


def test_tries_are_counted_and_can_be_switched_off() -> None:
    error, taken = talk([FULL] * 9, times=3)
    assert error is FULL
    assert asks(taken) == 4
    error, taken = talk([NOBODY], times=0)
    assert error is NOBODY
    assert asks(taken) == 1


def test_a_request_that_kills_workers_is_sent_three_times_at_most() -> None:
    error, taken = talk([DIED] * 9)
    assert error is DIED
    assert asks(taken) == 3


def test_pauses_grow_up_to_a_limit_and_differ() -> None:
    pauses = list(Retry(times=20, pause=0.1, longest=1.0).pauses())
    for number, pause in enumerate(pauses):
        assert 0.5 <= pause / min(0.1 * 2**number, 1.0) <= 1
    assert len({round(pause, 6) for pause in pauses[4:]}) > 5


def test_the_deadline_ends_it() -> None:
    error, taken = talk([FULL] * 9, timeout=0.01)
    assert error is FULL
    assert asks(taken) == 1
    error, _ = talk([answer_error("m: no answer within 0.2 s", code=504, type="timeout")], timeout=7)
    assert isinstance(error, AnswerTimeoutError)
    assert str(error) == "m: no answer within 7 s"


def test_what_has_no_answer_is_sent_once_more_and_then_has_all_the_time_that_is_left() -> None:
    silence = answer_error("m: no answer", code=504, type="timeout")
    answer, taken = talk([silence, {"items": []}], timeout=30)
    assert answer == {"items": []}
    assert [type(step) for step in taken] == [Ask, Ask]
    first, second = (step.seconds for step in taken if isinstance(step, Ask))
    assert first == pytest.approx(10, abs=0.1)
    assert second == pytest.approx(30, abs=0.1)
    error, taken = talk([silence, silence], timeout=30)
    assert str(error) == "m: no answer within 30 s"
    assert asks(taken) == 2


@pytest.mark.parametrize(("times", "timeout"), [(0, 30.0), (5, 9.0)])
def test_what_may_not_be_sent_again_has_all_the_time_at_once(times: int, timeout: float) -> None:
    error, taken = talk(
        [answer_error("m: no answer", code=504, type="timeout")], times=times, timeout=timeout
    )
    assert isinstance(error, AnswerTimeoutError)
    (step,) = taken
    assert isinstance(step, Ask)
    assert step.seconds == pytest.approx(timeout, abs=0.1)


def test_a_refused_token_is_replaced_once() -> None:
    answer, taken = talk([EXPIRED, 1], renewable=True)
    assert answer == 1
    assert [step for step in taken if isinstance(step, Renew)] == [Renew("key")]
    assert [step.token for step in taken if isinstance(step, Ask)] == ["key", "new"]
    assert talk([EXPIRED, EXPIRED], renewable=True)[0] is EXPIRED
    assert talk([EXPIRED])[0] is EXPIRED


@pytest.mark.parametrize(
    ("code", "type", "kind"),
    [
        (400, "bad_field", BadRequestError),
        (413, "limit_exceeded", BadRequestError),
        (404, "ModelNotFoundException", ModelNotFoundError),
        (429, "RESOURCE_EXHAUSTED", OverloadedError),
        (503, "ServiceUnavailableException", OverloadedError),
        (503, "InternalServerException", AnswerError),
        (504, "timeout", AnswerTimeoutError),
        (500, "internal_error", AnswerError),
    ],
)
def test_a_status_has_its_error(code: int, type: str, kind: type[AnswerError]) -> None:
    error = answer_error("text", code=code, type=type)
    assert error.__class__ is kind
    assert (str(error), error.code, error.type) == ("text", code, type)


def test_each_row_has_its_answer() -> None:
    assert rows_of("m", [{}, {}], {"predictions": [1, 2]}) == [1, 2]
    answers: list[Any] = [{"predictions": [1]}, {"items": []}, [1, 2], {"predictions": None}]
    for answer in answers:
        with pytest.raises(ServingError, match="m: expected predictions for 2 rows, got "):
            rows_of("m", [{}, {}], answer)
