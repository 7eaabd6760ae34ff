"""Between TorchServe and a model: the calls that a worker makes, and errors that cost one request only."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from http.client import responses
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, Protocol

from torchtowers.handlers.answer import encode_answer, encode_error
from torchtowers.handlers.body import json_of
from torchtowers.handlers.dialect import Request
from torchtowers.handlers.encoders import Encoder
from torchtowers.handlers.errors import (
    ArtifactError,
    InternalError,
    LimitError,
    RequestError,
    RuntimeUnavailableError,
)
from torchtowers.handlers.limits import Limits
from torchtowers.handlers.samples import check_samples, read_samples, warm_up
from torchtowers.handlers.seal import verify_signer
from torchtowers.handlers.settings import Settings
from torchtowers.handlers.signature import Signature
from torchtowers.handlers.threads import limit_blas, threads_of_worker
from torchtowers.handlers.worker_reads import read_batches_at_once

__all__ = ["BaseHandler"]

_LOGGER = logging.getLogger(__name__)


class ServedModel(Protocol):
    """What answers: `read` for each request of a batch, then `answers` for all that could be read."""

    limits: Limits
    signature: Signature

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
            TowersError: The archive or its settings can't be used or trusted, or a recorded request is not
                answered as it was at export; the worker's log ends with the reason.
        """
        properties = context.system_properties
        verify_signer(Path(properties["model_dir"]))
        folder = Path(properties["model_dir"])
        config = getattr(context, "model_yaml_config", None)
        settings = Settings.from_config(config)
        threads = settings.threads or threads_of_worker(config)
        limit_blas(threads)
        self.model = self._load(folder, properties.get("gpu_id"), threads, settings.allow_cpu)
        samples = self.model.signature.samples
        if settings.warm_up and samples is not None:
            # Before the limits are set, since the answers were recorded without any.
            recorded = read_samples(folder / samples)
            check_samples(self._rehearse, recorded, settings.sample_tolerance)
            warm_up(self._rehearse, recorded, properties.get("batch_size") or 1)
        self.model.limits = settings.limits
        read_batches_at_once()

    def _load(self, folder: Path, gpu_id: int | None, threads: int, allow_cpu: bool) -> ServedModel:
        try:
            return self.model_class.load(folder, gpu_id=gpu_id, threads=threads, limits=None)
        except RuntimeUnavailableError as error:
            if gpu_id is None or not allow_cpu:
                raise
            _LOGGER.warning("the model runs on the CPU, as torchtowers.allow_cpu allows: %s", error)
        return self.model_class.load(folder, gpu_id=None, threads=threads, limits=None)

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

    def _rehearse(self, bodies: Sequence[Any]) -> list[bytes]:
        return self.handle([{"body": body} for body in bodies], _Rehearsal())

    def _respond(self, context: Any, position: int, answer: bytes | RequestError) -> bytes:
        context.set_response_content_type(position, "application/json")
        if isinstance(answer, bytes):
            return answer
        context.set_response_status(
            code=answer.code, phrase=responses.get(answer.code, "Bad Request"), idx=position
        )
        return encode_error(answer)


class _Rehearsal:
    """The context of a batch that nobody sent."""

    def set_response_content_type(self, position: int, value: str) -> None:
        """Pass it over."""

    def set_response_status(self, code: int, phrase: str, idx: int) -> None:
        """Pass it over: an error tells its code in its body, too."""


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
