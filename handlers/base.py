"""Between TorchServe and a model: the calls that a worker makes, and errors that cost one request only."""

from collections.abc import Mapping, Sequence
from http.client import responses
from pathlib import Path
from typing import Any

from torchtowers.handlers.answer import encode_answer, encode_error
from torchtowers.handlers.errors import ArtifactError, LimitError, RequestError
from torchtowers.handlers.recommender import EncodedRow, Recommender
from torchtowers.handlers.request import Limits, Request, parse_request

__all__ = ["BaseHandler"]

_SETTINGS = "torchtowers"


class BaseHandler:
    """What TorchServe loads: `initialize` once a worker, `handle` for every batch.

    Each request of a batch is parsed on its own. One that can't be answered gets its own status and its own
    `{"code", "type", "message"}`; the others are answered together, in one pass through the tower.
    """

    def __init__(self) -> None:
        self.recommender: Recommender | None = None

    def initialize(self, context: Any) -> None:
        """Load the archive that the worker has unpacked.

        Raises:
            TowersError: The archive or its settings can't be used; the worker's log ends with the reason.
        """
        properties = context.system_properties
        config = getattr(context, "model_yaml_config", None) or {}
        settings = config.get(_SETTINGS) or {}
        if not isinstance(settings, Mapping):
            raise ArtifactError(f"{_SETTINGS} in model-config.yaml has to be a mapping, got {settings!r}")
        self.recommender = Recommender.load(
            Path(properties["model_dir"]),
            gpu_id=properties.get("gpu_id"),
            threads=settings.get("threads"),
            limits=Limits.from_config(settings),
        )

    def handle(self, data: Sequence[Mapping[str, object]], context: Any) -> list[bytes]:
        """Answer a batch of requests, each with the JSON of its answer or of its error.

        Args:
            data: What TorchServe hands over, a mapping for each request.
            context: The worker's context; takes each request's status and content type.
        """
        recommender = self.recommender
        if recommender is None:
            raise ArtifactError("handle was called before initialize")
        answers: list[bytes | RequestError] = []
        parsed: list[tuple[int, Request, list[EncodedRow]]] = []
        for position, item in enumerate(data):
            try:
                request, rows = self._parse(recommender, item)
            except RequestError as error:
                answers.append(error)
            else:
                answers.append(b"")
                parsed.append((position, request, rows))
        if parsed:
            self._answer(recommender, parsed, answers)
        return [self._respond(context, position, answer) for position, answer in enumerate(answers)]

    def _parse(
        self, recommender: Recommender, item: Mapping[str, object]
    ) -> tuple[Request, list[EncodedRow]]:
        encoder = recommender.encoder
        request = parse_request(item, recommender.limits, encoder.encoders.keys(), recommender.columns.keys())
        return request, [encoder.encode(row) for row in request.rows]

    def _answer(
        self,
        recommender: Recommender,
        parsed: Sequence[tuple[int, Request, list[EncodedRow]]],
        answers: list[bytes | RequestError],
    ) -> None:
        encoded = recommender.answers([row for _, _, rows in parsed for row in rows])
        most = recommender.limits.max_answer_bytes
        begin = 0
        for position, request, rows in parsed:
            answer = encode_answer(request.dialect, encoded[begin : begin + len(rows)])
            begin += len(rows)
            # TorchServe kills a worker whose answer is over max_response_size, and with it the whole batch.
            answers[position] = answer if len(answer) <= most else _too_large(len(answer), most)

    def _respond(self, context: Any, position: int, answer: bytes | RequestError) -> bytes:
        context.set_response_content_type(position, "application/json")
        if isinstance(answer, bytes):
            return answer
        context.set_response_status(
            code=answer.code, phrase=responses.get(answer.code, "Bad Request"), idx=position
        )
        return encode_error(answer)


def _too_large(size: int, most: int) -> LimitError:
    return LimitError(
        f"the answer would be {size} bytes, at most {most} are allowed: ask for fewer rows, items or fields",
        code=413,
    )
