"""Requests that a new version has to answer before it gets any of its own, and how its answers compare."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torchtowers.handlers.agreement import Tolerance, agree
from torchtowers.handlers.errors import shorten
from torchtowers.handlers.samples import Sample
from torchtowers.serving.client import Client
from torchtowers.serving.errors import AnswerError, ServingError

__all__ = ["Comparison", "compare", "read_golden"]

# Another runtime, or another number of threads, sums in another order.
_LEAST_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Comparison:
    """How a new version's answers are beside the old one's.

    Args:
        requests: How many were sent to the new version; all were answered.
        compared: How many rows both versions answered.
        overlap: The mean share of items that both give, from 0 to 1; None where nothing was compared.
        largest_difference: Of the scores of one item; None where both give no item.
    """

    requests: int
    compared: int = 0
    overlap: float | None = None
    largest_difference: float | None = None

    def __str__(self) -> str:
        if self.overlap is None:
            return f"{self.requests} requests are answered; there is nothing to compare them with"
        difference = "none in common" if self.largest_difference is None else f"{self.largest_difference:.4g}"
        return (
            f"{self.requests} requests are answered; of {self.compared} rows {self.overlap:.1%} of the items "
            f"are the old version's, the largest difference of a score is {difference}"
        )

    def require(self, min_overlap: float | None, max_difference: float | None) -> None:
        """Hold it to thresholds; None is none.

        Raises:
            ServingError: Fewer items are the same, or a score differs more, than is allowed.
        """
        if min_overlap is not None and self.overlap is not None and self.overlap < min_overlap:
            raise ServingError(
                f"{self.overlap:.1%} of the items are the old one's, at least {min_overlap:.1%} are wanted"
            )
        found = self.largest_difference
        if max_difference is not None and found is not None and found > max_difference:
            raise ServingError(f"a score differs by {found:.4g}, at most {max_difference:g} is asked for")


def read_golden(path: Path) -> list[Sample]:
    """Read requests, a JSON object a line: the body, or `{"request": body, "answer": answer}`.

    Raises:
        ServingError: The file can't be read, is empty, or a line is not such an object.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ServingError(f"{path}: can't read the golden requests ({error})") from None
    requests = [_parse(path, number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if not requests:
        raise ServingError(f"{path}: no request in it: write one JSON object a line")
    return requests


def compare(
    client: Client,
    name: str,
    new: str,
    old: str | None,
    requests: Sequence[Sample],
    tolerance: Tolerance | None = None,
) -> Comparison:
    """Ask the new version, and the old one where there is one.

    Args:
        client: Of the server.
        name: The model.
        new: The version that has to answer.
        old: The one to compare it with, if there is one.
        requests: What is asked, with the right answers where they are known.
        tolerance: How far answers may differ from those; of scores never less than 1e-3.

    Raises:
        ServingError: The new version fails where the old one doesn't, gives another answer than the
            recorded one, or a score that is no number.
    """
    tolerance = tolerance or Tolerance()
    tolerance = replace(tolerance, scores=max(tolerance.scores, _LEAST_TOLERANCE))
    shares: list[float] = []
    differences: list[float] = []
    for number, request in enumerate(requests, 1):
        what = f"golden request {number} ({shorten(json.dumps(request.request))}) to {name} {new}"
        before = None if old is None else _answer_of(client, name, old, request)
        answer = _answer_of(client, name, new, request)
        if isinstance(answer, AnswerError):
            if isinstance(before, AnswerError) and before.code == answer.code:
                continue
            raise ServingError(f"{what} fails: {answer}")
        _require_finite(what, answer)
        if request.answer is not None:
            _require_same(what, answer, request.answer, tolerance)
        if before is None or isinstance(before, AnswerError):
            continue
        for ours, theirs in zip(_rows(answer), _rows(before), strict=False):
            shares.append(_share(ours, theirs))
            differences += [abs(ours[item] - theirs[item]) for item in ours.keys() & theirs.keys()]
    return Comparison(
        len(requests),
        len(shares),
        sum(shares) / len(shares) if shares else None,
        max(differences, default=None),
    )


def _parse(path: Path, number: int, line: str) -> Sample:
    try:
        read = json.loads(line)
    except (ValueError, RecursionError):
        read = None
    if isinstance(read, dict) and read.keys() == {"request", "answer"}:
        body, answer = read["request"], read["answer"]
    else:
        body, answer = read, None
    if not isinstance(body, dict):
        raise ServingError(f"{path}:{number}: expected a JSON object, the request, got {shorten(line)}")
    return Sample(body, answer)


def _answer_of(client: Client, name: str, version: str, request: Sample) -> Any:
    try:
        return client.predict(name, request.request, version=version)
    except AnswerError as error:
        return error


def _rows(answer: Any) -> list[dict[str, float]]:
    """Give each row's items with their scores; answers of another kind are one item, themselves."""
    if isinstance(answer, dict) and isinstance(answer.get("predictions"), list):
        return [row for part in answer["predictions"] for row in _rows(part)]
    if isinstance(answer, dict) and isinstance(answer.get("outputs"), list):
        outputs = {part["name"]: part for part in answer["outputs"]}
        if {"items", "scores"} <= outputs.keys():
            items, scores = outputs["items"], outputs["scores"]
            width = items["shape"][-1] or 1
            pairs = list(zip(map(_key, items["data"]), scores["data"], strict=True))
            return [dict(pairs[begin : begin + width]) for begin in range(0, len(pairs), width)]
    if isinstance(answer, dict) and {"items", "scores"} <= answer.keys():
        return [dict(zip(map(_key, answer["items"]), answer["scores"], strict=True))]
    return [{_key(answer): 0.0}]


def _key(item: Any) -> str:
    return json.dumps(item, sort_keys=True)


def _share(ours: Mapping[str, float], theirs: Mapping[str, float]) -> float:
    most = max(len(ours), len(theirs))
    return len(ours.keys() & theirs.keys()) / most if most else 1.0


def _require_finite(what: str, answer: Any) -> None:
    if isinstance(answer, float) and not math.isfinite(answer):
        raise ServingError(f"{what} is answered with {answer}, which is no number")
    parts = answer.values() if isinstance(answer, dict) else answer if isinstance(answer, list) else ()
    for part in parts:
        _require_finite(what, part)


def _require_same(what: str, answer: Any, expected: Any, tolerance: Tolerance) -> None:
    if not agree(answer, expected, tolerance):
        raise ServingError(f"{what}: expected {shorten(expected)}, got {shorten(answer)}")
