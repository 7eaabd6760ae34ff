"""Between TorchServe and a model: the calls that a worker makes, and errors that cost one request only."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from http.client import responses
from itertools import islice
from pathlib import Path
from typing import Any

from torchtowers.handlers.answer import encode_answer, encode_error
from torchtowers.handlers.errors import ArtifactError, InternalError, LimitError, RequestError, shorten
from torchtowers.handlers.query_encoder import EncodedRow
from torchtowers.handlers.recommender import Recommender
from torchtowers.handlers.request import Limits, Request, parse_request

__all__ = ["BaseHandler"]

_LOGGER = logging.getLogger(__name__)
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
        settings = _settings(getattr(context, "model_yaml_config", None))
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
            except Exception:  # TorchServe would answer 503 to every request of the batch
                _LOGGER.exception("a request could not be read")
                answers.append(InternalError())
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
        request = parse_request(
            item,
            recommender.limits,
            encoder.encoders,
            recommender.columns,
            has_history=encoder.history is not None,
        )
        return request, [encoder.encode(row) for row in request.rows]

    def _answer(
        self,
        recommender: Recommender,
        parsed: Sequence[tuple[int, Request, list[EncodedRow]]],
        answers: list[bytes | RequestError],
    ) -> None:
        encoded = recommender.answers([row for _, _, rows in parsed for row in rows])
        for position, request, rows in parsed:
            own = islice(encoded, len(rows))
            answers[position] = _within(recommender.limits.max_answer_bytes, request.dialect, own)

    def _respond(self, context: Any, position: int, answer: bytes | RequestError) -> bytes:
        context.set_response_content_type(position, "application/json")
        if isinstance(answer, bytes):
            return answer
        context.set_response_status(
            code=answer.code, phrase=responses.get(answer.code, "Bad Request"), idx=position
        )
        return encode_error(answer)


def _within(most: int, dialect: str, rows: Iterable[bytes]) -> bytes | LimitError:
    # TorchServe kills a worker whose answer is over max_response_size, and with it the whole batch.
    kept: list[bytes] = []
    size = 0
    for row in rows:
        size += len(row)
        if size <= most:  # what is over the limit is counted and not kept
            kept.append(row)
    if size <= most:
        answer = encode_answer(dialect, kept)
        if len(answer) <= most:
            return answer
        size = len(answer)
    return LimitError(
        f"the answer would be {size} bytes, at most {most} are allowed: ask for fewer rows, items or fields",
        code=413,
    )


def _settings(config: object) -> Mapping[str, Any]:
    settings = config.get(_SETTINGS) if isinstance(config, Mapping) else None
    if settings is None:
        return {}
    if not isinstance(settings, Mapping):
        raise ArtifactError(f"{_SETTINGS} in model-config.yaml has to be a mapping, got {shorten(settings)}")
    known = ("threads", *(field.name for field in fields(Limits)))
    for name in settings:
        if name not in known:
            raise ArtifactError(
                f"{_SETTINGS}.{shorten(name)} in model-config.yaml: unknown; known are {', '.join(known)}"
            )
    threads = settings.get("threads")
    if threads is not None and (not isinstance(threads, int) or isinstance(threads, bool) or threads < 1):
        raise ArtifactError(f"{_SETTINGS}.threads: expected a positive integer, got {shorten(threads)}")
    return settings
