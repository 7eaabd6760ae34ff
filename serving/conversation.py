"""One request until its answer, whoever sends it: the deadline, a renewed token, and what is tried again."""

import json
import random
import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from torchtowers.handlers.errors import BodyError, shorten
from torchtowers.serving.errors import AnswerError, ServerNotRunningError, ServingError, answer_error

__all__ = [
    "WORKER_DIED",
    "Ask",
    "Pause",
    "Renew",
    "Retry",
    "converse",
    "encode",
    "parse_answer",
    "rest_headers",
    "rest_path",
    "rows_of",
    "timed_out",
    "too_large",
]

WORKER_DIED = "Worker died."
# The worker's batch died with it, and one of its requests may be why.
_TRIES_AFTER_A_DEATH = 2


@dataclass(frozen=True)
class Retry:
    """When a request is sent again; a prediction changes nothing, so that a second one is harmless.

    Sent again is what got no answer (nobody listens, the connection broke), what the server had no place or
    no worker for (503), and what was with a worker that died (500 or 507 "Worker died."), the latter twice
    only, as the request may be what killed it. So is, once, what has no answer for a while: TorchServe loses
    requests that it was putting together to a batch when the worker died. An error of the request, of the
    model, or the deadline is final.

    Args:
        times: How often at most; 0 for never.
        pause: Seconds before the first time; doubled each time, and shortened at random by up to half.
        longest: Seconds that a pause grows to.
        unanswered: Seconds without an answer after which it is sent once more; more than the model takes.
    """

    times: int = 5
    pause: float = 0.05
    longest: float = 1.0
    unanswered: float = 10.0

    def pauses(self) -> Generator[float, None, None]:
        """Give the seconds before each time."""
        for number in range(self.times):
            yield min(self.pause * 2**number, self.longest) * random.uniform(0.5, 1.0)


@dataclass(frozen=True)
class Ask:
    """Send the request, and give what came: its JSON, or the error by `throw`.

    Args:
        token: To send with it; None for none.
        seconds: What is left for an answer.
    """

    token: str | None
    seconds: float


@dataclass(frozen=True)
class Pause:
    """Wait."""

    seconds: float


@dataclass(frozen=True)
class Renew:
    """Give a token in place of the one that was refused."""

    refused: str


def converse(
    name: str, token: str | None, *, renewable: bool, timeout: float, retry: Retry
) -> Generator[Ask | Pause | Renew, Any, Any]:
    """Give what to do next until the answer is there, which is returned; who drives it does it.

    Args:
        name: The model.
        token: The token to begin with.
        renewable: Whether a refused token can be replaced.
        timeout: Seconds for all of it.
        retry: What is tried again.

    Raises:
        AnswerError: The last error, where nothing more is tried.
        ServerNotRunningError: Nobody answers.
    """
    deadline = time.monotonic() + timeout
    pauses, deaths = retry.pauses(), 0
    waits = min(retry.unanswered, timeout) if retry.times else timeout
    while True:
        left = min(waits, deadline - time.monotonic())
        try:
            return (yield Ask(token, max(left, 0.001)))
        except AnswerError as error:
            if error.type == "InvalidKeyException" and token is not None and renewable:
                token, renewable = (yield Renew(token)), False
                continue
            if error.type == "timeout" and waits < timeout:
                waits = timeout
                continue
            deaths += str(error) == WORKER_DIED
            if not _is_passing(error) or deaths > _TRIES_AFTER_A_DEATH:
                raise timed_out(name, timeout) if error.type == "timeout" else error from None
            last: ServingError = error
        except ServerNotRunningError as error:
            last = error
        pause = next(pauses, None)
        if pause is None or time.monotonic() + pause >= deadline:
            raise last
        yield Pause(pause)


def _is_passing(error: AnswerError) -> bool:
    if str(error) == WORKER_DIED:
        return True
    # Of TorchServe's 503s an InternalServerException is the handler's own failure; a proxy's have no type.
    return error.code in (502, 503) and error.type != "InternalServerException"


def timed_out(name: str, seconds: float) -> AnswerError:
    """Give the error of an answer that took too long."""
    return answer_error(f"{name}: no answer within {seconds:g} s", code=504, type="timeout")


def too_large(name: str) -> AnswerError:
    """Give the error of a request whose bytes are more than the server takes; it says so without a word."""
    return answer_error(
        f"{name}: the request is larger than the server's max_request_size", code=413, type="too_large"
    )


def rest_path(name: str, version: str | None) -> str:
    """Give the path that a model answers at."""
    return f"/predictions/{quote(name, safe='')}" + (f"/{quote(version, safe='')}" if version else "")


def rest_headers(token: str | None) -> dict[str, str]:
    """Give the headers of a request."""
    json_type = {"Content-Type": "application/json"}
    return {**json_type, "Authorization": f"Bearer {token}"} if token else json_type


def encode(body: Mapping[str, Any]) -> bytes:
    """Write a request as JSON.

    Raises:
        BodyError: It holds what JSON does not know.
    """
    try:
        return json.dumps(body, allow_nan=False, separators=(",", ":")).encode()
    except RecursionError:
        reason = "it is nested too deeply"
    except (TypeError, ValueError) as error:
        reason = shorten(str(error))
    raise BodyError(f"the request can't be sent as JSON ({reason}): {shorten(body)}")


def rows_of(name: str, rows: Sequence[Mapping[str, Any]], answer: Any) -> list[Any]:
    """Give the answer of each row of a request with `instances`.

    Raises:
        ServingError: There are more or fewer.
    """
    answers = answer.get("predictions") if isinstance(answer, dict) else None
    if not isinstance(answers, list) or len(answers) != len(rows):
        raise ServingError(f"{name}: expected predictions for {len(rows)} rows, got {shorten(answer)}")
    return answers


def parse_answer(name: str, content: bytes, status: int) -> Any:
    """Parse an answer's JSON.

    Raises:
        AnswerError: It is an error: by its status, or because it has what all errors here have.
        ServingError: It is no JSON.
    """
    if status == 413 and not content:
        raise too_large(name)
    try:
        answer = json.loads(content)
    except (ValueError, RecursionError):
        answer = None
        if status < 400:
            raise ServingError(f"{name}: expected JSON for an answer, got {shorten(content)}") from None
    if (
        isinstance(answer, dict)
        and {"code", "type", "message"} <= answer.keys()
        and isinstance(answer["code"], int)
    ):
        field = answer.get("field")
        raise answer_error(
            str(answer["message"]),
            code=answer["code"],
            type=str(answer["type"]),
            field=field if isinstance(field, str) else None,
        )
    if status >= 400:
        raise answer_error(
            f"{name}: status {status}: {shorten(content.decode(errors='replace'))}",
            code=status,
            type="unknown",
        )
    return answer
