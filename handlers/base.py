"""Between TorchServe and a model: the calls that a worker makes, and errors that cost one request only."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from http.client import responses
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, Protocol

from torchtowers.handlers.answer import encode_answer, encode_error
from torchtowers.handlers.body import json_of
from torchtowers.handlers.dialect import Request
from torchtowers.handlers.encoders import Encoder
from torchtowers.handlers.errors import ArtifactError, InternalError, LimitError, RequestError, shorten
from torchtowers.handlers.limits import Limits
from torchtowers.handlers.seal import verify_signer
from torchtowers.handlers.worker_reads import read_batches_at_once

__all__ = ["BaseHandler"]

_LOGGER = logging.getLogger(__name__)
_SETTINGS = "torchtowers"


class ServedModel(Protocol):
    """What answers: `read` for each request of a batch, then `answers` for all that could be read."""

    limits: Limits

    @classmethod
    def load(
        cls, folder: Path, *, gpu_id: int | None, threads: int | None, limits: Limits | None
    ) -> "ServedModel":
        """Load and verify an unpacked archive."""

    @property
    def fields(self) -> Mapping[str, Encoder]:
        """The features that a request may hold."""

    def read(self, body: object) -> Request[Any]:
        """Check a parsed body and encode its rows.

        Raises:
            RequestError: The body is not what a dialect allows.
        """

    def answers(self, rows: Sequence[Any]) -> Iterable[bytes | RequestError]:
        """Give the JSON of each row's answer, or why it has none."""


class BaseHandler:
    """What TorchServe loads: `initialize` once a worker, `handle` for every batch.

    Each request of a batch is parsed on its own. One that can't be answered gets its own status and its own
    `{"code", "type", "message"}`; the others are answered together, in one pass through the model.
    """

    model_class: ClassVar[type[ServedModel]]

    def __init__(self) -> None:
        self.model: ServedModel | None = None

    def initialize(self, context: Any) -> None:
        """Load the archive that the worker has unpacked.

        Raises:
            TowersError: The archive or its settings can't be used or trusted; the worker's log ends with the
                reason.
        """
        properties = context.system_properties
        verify_signer(Path(properties["model_dir"]))
        settings = _settings(getattr(context, "model_yaml_config", None))
        self.model = self.model_class.load(
            Path(properties["model_dir"]),
            gpu_id=properties.get("gpu_id"),
            threads=settings.get("threads"),
            limits=Limits.from_config(settings),
        )
        read_batches_at_once()

    def handle(self, data: Sequence[Mapping[str, object]], context: Any) -> list[bytes]:
        """Answer a batch of requests, each with the JSON of its answer or of its error.

        Args:
            data: What TorchServe hands over, a mapping for each request.
            context: The worker's context; takes each request's status and content type.
        """
        model = self.model
        if model is None:
            raise ArtifactError("handle was called before initialize")
        answers: list[bytes | RequestError] = []
        read: list[tuple[int, Request[Any]]] = []
        for position, item in enumerate(data):
            try:
                request = model.read(json_of(item, model.fields))
            except RequestError as error:
                answers.append(error)
            except Exception:  # TorchServe would answer 503 to every request of the batch
                _LOGGER.exception("a request could not be read")
                answers.append(InternalError())
            else:
                answers.append(b"")
                read.append((position, request))
        if read:
            encoded = iter(model.answers([row for _, request in read for row in request.rows]))
            for position, request in read:
                own = islice(encoded, len(request.rows))
                answers[position] = _together(model.limits.max_answer_bytes, request.dialect, own)
        return [self._respond(context, position, answer) for position, answer in enumerate(answers)]

    def _respond(self, context: Any, position: int, answer: bytes | RequestError) -> bytes:
        context.set_response_content_type(position, "application/json")
        if isinstance(answer, bytes):
            return answer
        context.set_response_status(
            code=answer.code, phrase=responses.get(answer.code, "Bad Request"), idx=position
        )
        return encode_error(answer)


def _together(most: int, dialect: str, rows: Iterable[bytes | RequestError]) -> bytes | RequestError:
    # TorchServe kills a worker whose answer is over max_response_size, and with it the whole batch.
    kept: list[bytes] = []
    size = 0
    error: RequestError | None = None
    for row in rows:  # all of them, as the next request's come after
        if isinstance(row, RequestError):
            error = error or row
            continue
        size += len(row)
        if size <= most:  # what is over the limit is counted and not kept
            kept.append(row)
    if error is not None:
        return error
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
