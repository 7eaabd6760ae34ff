"""What a load measurement keeps of each request: its time, whether it failed, whether its answer is right."""

import json
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from time import perf_counter
from typing import Any

from torchtowers.handlers.agreement import Tolerance, agree
from torchtowers.serving.conversation import parse_answer
from torchtowers.serving.errors import AnswerError, ServingError

__all__ = ["Recorder", "encoded"]

# Answers of one request that differ in their bytes and were found right; more are parsed each time.
_KEPT = 16


class Recorder:
    """Hands out requests by turns, and takes in what comes back.

    Args:
        requests: Bodies, each asked in its turn.
        expected: For each the parsed answer that is right; None where any answer is.
        tolerance: How far an answer may differ from it.
    """

    def __init__(
        self,
        requests: Sequence[bytes],
        expected: Sequence[Any | None],
        tolerance: Tolerance | None = None,
    ) -> None:
        self.requests = requests
        self.milliseconds = array("f")
        self.finished = array("d")
        self.errors: Counter[str] = Counter()
        self.failed_at = array("d")
        self.checked = 0
        self.wrong = 0
        self.first_wrong: str | None = None
        self.begin = perf_counter()
        self.end = float("inf")
        self._expected = expected
        self._tolerance = tolerance
        self._right: list[set[bytes]] = [set() for _ in requests]
        self._turn = 0

    def measure(self, seconds: float) -> None:
        """Forget what came until now, and hand out requests for some seconds."""
        del self.milliseconds[:], self.finished[:], self.failed_at[:]
        self.errors.clear()
        self.checked = self.wrong = 0
        self.begin = perf_counter()
        self.end = self.begin + seconds

    @property
    def is_due(self) -> bool:
        """Whether there are requests to send yet."""
        return perf_counter() < self.end

    def next(self) -> int | None:
        """Give the place of the request to send, or None where the time is over."""
        if not self.is_due:
            return None
        turn = self._turn
        self._turn = (turn + 1) % len(self.requests)
        return turn

    def answered(self, place: int, sent: float, status: int, content: bytes) -> AnswerError | None:
        """Take in an answer; gives the error that it is, if it is one.

        Args:
            place: The request's.
            sent: When it was sent, by `perf_counter`.
            status: The HTTP status; 200 for an answer over gRPC.
            content: The answer's bytes.
        """
        now = perf_counter()
        if content not in self._right[place]:
            try:
                answer = parse_answer("load", content, status)
            except AnswerError as error:
                self.failed(f"{error.code} {error.type}")
                return error
            except ServingError:
                self.failed("an answer that is no JSON")
                return None
            self._check(place, answer, content)
        elif self._expected[place] is not None:
            self.checked += 1
        self.milliseconds.append((now - sent) * 1000)
        self.finished.append(now - self.begin)
        return None

    def failed(self, kind: str) -> None:
        """Count a request without an answer, or with an error for one."""
        self.errors[kind] += 1
        self.failed_at.append(perf_counter() - self.begin)

    def _check(self, place: int, answer: Any, content: bytes) -> None:
        right = self._right[place]
        expected = self._expected[place]
        if expected is not None:
            self.checked += 1
            if not agree(expected, answer, self._tolerance):
                self.wrong += 1
                if self.first_wrong is None:
                    self.first_wrong = (
                        f"{self.requests[place].decode(errors='replace')}: expected {json.dumps(expected)}, "
                        f"got {content.decode(errors='replace')}"
                    )
                return
        if len(right) < _KEPT:
            right.add(content)


def encoded(bodies: Iterable[Any]) -> list[bytes]:
    """Give requests as compact JSON."""
    return [json.dumps(body, separators=(",", ":")).encode() for body in bodies]
