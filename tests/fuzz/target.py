"""What is fuzzed: bytes as TorchServe would hand them to each of the three handlers, and what has to hold."""

import base64
import json
import logging
import math
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.handlers.small import small_recommender, strict_json
from tests.handlers.small_ranking import small_ranker
from tests.handlers.small_two_stage import small_two_stages
from torchtowers.handlers.base import BaseHandler
from torchtowers.handlers.limits import Limits
from torchtowers.handlers.ranking_handler import RankingHandler
from torchtowers.handlers.recommendation_handler import RecommendationHandler
from torchtowers.handlers.retrieval_handler import RetrievalHandler

with warnings.catch_warnings():
    warnings.simplefilter("ignore", ResourceWarning)  # ts leaves a file open when it is imported
    from ts.context import Context, RequestProcessor

__all__ = ["KINDS", "WAYS", "Finding", "Target"]

KINDS = ("retrieval", "ranking", "two_stage")

# Small ones, so that they are met.
_LIMITS = Limits(max_rows=6, max_k=60, max_scores=200, max_body_bytes=60_000, max_answer_bytes=3_000)
_CALL = {"body": {"content-type": "application/json"}}


class Finding(AssertionError):
    """Something that must not happen whatever comes."""


def _rest(content: bytes) -> dict[str, Any]:
    """Give what TorchServe's worker makes of a body that is told to be JSON."""
    try:
        return {"body": json.loads(content.decode())}
    except (ValueError, RecursionError):
        return {"body": bytearray(content)}


def _text(content: bytes) -> dict[str, Any]:
    return {"body": content.decode("utf-8", "surrogateescape").encode("utf-8", "replace").decode()}


def _form(content: bytes) -> dict[str, Any]:
    """Give a form, with a field in each line."""
    fields = (line.partition(b"=") for line in content.split(b"\n"))
    return {name.decode("latin-1"): bytearray(value) for name, _, value in fields}


def _of_call(content: bytes) -> dict[str, Any]:
    """Give what becomes of a call of Open Inference's gRPC: BYTES as base64."""
    item = _rest(content)
    body = item["body"]
    if not isinstance(body, dict):
        return {"body": {"id": "", "model_name": "m", "inputs": []}}
    tensors = body.get("inputs")
    for tensor in tensors if isinstance(tensors, list) else ():
        if isinstance(tensor, dict) and isinstance(tensor.get("data"), list):
            tensor["data"] = [_encoded(value) for value in tensor["data"]]
    return item


def _encoded(value: Any) -> Any:
    if isinstance(value, str):
        return base64.b64encode(value.encode("utf-8", "surrogatepass")).decode()
    return value


WAYS: Mapping[str, Callable[[bytes], dict[str, Any]]] = {
    "rest": _rest,
    "grpc": lambda content: {"body": bytearray(content)},
    "data": lambda content: {"data": bytearray(content)},
    "text": _text,
    "form": _form,
    "call": _of_call,
}


class _Failures(logging.Handler):
    """Keeps what the handlers log as faults of theirs."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


class Target:
    """The three handlers with the small models, whose answers to a good request are known.

    Args:
        folder: Where their files are put.
    """

    def __init__(self, folder: Path) -> None:
        models: dict[type[BaseHandler], Any] = {
            RetrievalHandler: small_recommender(folder / "retrieval", limits=_LIMITS),
            RankingHandler: small_ranker(folder / "ranking", limits=_LIMITS),
            RecommendationHandler: small_two_stages(folder / "two_stage", limits=_LIMITS),
        }
        self._handlers: list[BaseHandler] = []
        for kind, model in models.items():
            handler: BaseHandler = kind()
            handler.model = model
            self._handlers.append(handler)
        self._failures = _Failures()
        logger = logging.getLogger("torchtowers")
        logger.addHandler(self._failures)
        logger.propagate = False
        self._contexts = [Context("m", str(folder), {}, 3, None, "0.12.0") for _ in models]
        self._good: list[dict[str, Any]] = [
            {"body": {"user_id": "u1"}},
            {"body": {"user_id": "u1", "candidates": ["10", "13"]}},
            {"body": {"user_id": "u1"}},
        ]
        self._expected = [self._ask(kind, good)[1][0] for kind, good in enumerate(self._good)]

    def close(self) -> None:
        """Log again as before."""
        logger = logging.getLogger("torchtowers")
        logger.removeHandler(self._failures)
        logger.propagate = True

    def check(self, data: bytes) -> int:
        """Ask with what the bytes say: the first one chooses model and way, the others are the body.

        Returns:
            The status.

        Raises:
            Finding: A fault of ours, no answer, or a request beside it that is answered otherwise.
        """
        choice = data[0] if data else 0
        way = list(WAYS)[choice // len(KINDS) % len(WAYS)]
        return self.ask(KINDS[choice % len(KINDS)], way, data[1:])

    def ask(self, kind: str, way: str, content: bytes) -> int:
        """Do the same of a kind in `KINDS` and a way in `WAYS`."""
        model = KINDS.index(kind)
        item = WAYS[way](content)
        headers = _CALL if way == "call" else {"Content-Length": str(len(content))}
        statuses, (before, answer, after) = self._ask(
            model, self._good[model], item, self._good[model], headers=headers
        )
        if self._failures.lines:
            raise Finding("a fault of ours: " + "\n".join(self._failures.lines))
        if not before == after == self._expected[model]:
            raise Finding(f"a good request beside it got {before!r} and {after!r}")
        _check_answer(statuses[1], answer, is_call=way == "call")
        return statuses[1]

    def _ask(
        self, kind: int, *items: dict[str, Any], headers: Mapping[str, Any] | None = None
    ) -> tuple[list[int], list[bytes]]:
        self._failures.lines.clear()
        context = self._contexts[kind]
        middle = len(items) // 2
        context.request_processor = [
            RequestProcessor(dict(headers or {}) if place == middle else {}) for place in range(len(items))
        ]
        answers = self._handlers[kind].handle(items, context)
        return [context.get_response_status(place)[0] for place in range(len(items))], answers


def _check_answer(status: int, content: bytes, *, is_call: bool) -> None:
    answer = strict_json(content)
    if not isinstance(answer, dict):
        raise Finding(f"the answer is no object: {content[:200]!r}")
    if len(content) > _LIMITS.max_answer_bytes:
        raise Finding(f"the answer has {len(content)} bytes")
    if status == 200:
        _check_rows(answer)
        return
    if is_call:
        answer = answer["outputs"][0]["data"][0]
    if status not in (400, 413) or answer["code"] != status:
        raise Finding(f"status {status}: {content[:200]!r}")
    message = answer["message"]
    if not (message.isprintable() and len(message) < 600) or "Traceback" in message:
        raise Finding(f"the message is not one short line: {message!r}")


def _check_rows(answer: Mapping[str, Any]) -> None:
    outputs = answer.get("outputs")
    if isinstance(outputs, list):
        for output in outputs:
            if math.prod(output["shape"]) != len(output["data"]):
                raise Finding(f"{output['name']} is not as large as its shape says")
        return
    if outputs is not None:
        rows = [
            {"items": items, "scores": scores}
            for items, scores in zip(outputs["items"], outputs["scores"], strict=True)
        ]
    else:
        rows = answer.get("predictions", [answer])
    for row in rows:
        if len(row["items"]) != len(row["scores"]) or not all(map(math.isfinite, row["scores"])):
            raise Finding(f"items and scores don't fit: {row}")
