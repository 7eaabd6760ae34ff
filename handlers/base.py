"""Between TorchServe and a model: the calls that a worker makes, and errors that cost one request only."""

import gc
import json
import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from http.client import responses
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import Any, ClassVar, Protocol

from torchtowers.handlers.answer import Served, encode_answer, encode_error
from torchtowers.handlers.body import check_size, dialect_of, is_open_inference_call, json_of, with_texts
from torchtowers.handlers.combined_signature import AnySignature
from torchtowers.handlers.dialect import Request
from torchtowers.handlers.encoders import Encoder
from torchtowers.handlers.errors import (
    ArtifactError,
    InternalError,
    LimitError,
    RequestError,
    RuntimeUnavailableError,
)
from torchtowers.handlers.execution import Execution
from torchtowers.handlers.limits import Limits
from torchtowers.handlers.log_lines import log_event, log_failure
from torchtowers.handlers.measures import BATCH_SIZES, SECONDS, STAGES, Reporter, measures
from torchtowers.handlers.request_schema import Schema, openapi
from torchtowers.handlers.samples import check_samples, read_samples, warm_up
from torchtowers.handlers.seal import verify_signer
from torchtowers.handlers.settings import Settings
from torchtowers.handlers.threads import limit_blas, threads_of_worker
from torchtowers.handlers.worker_hooks import LastTime, take_over_batches

__all__ = ["BaseHandler"]

_LOGGER = logging.getLogger(__name__)


class ServedModel(Protocol):
    """What answers: `read` for each request of a batch, then `answers` for all that could be read."""

    limits: Limits

    @property
    def signature(self) -> AnySignature:
        """The archive's signature."""

    @classmethod
    def load(cls, folder: Path, *, execution: Execution, limits: Limits | None) -> "ServedModel":
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

    def schemas(self) -> tuple[Schema, Schema]:
        """Give the JSON Schemas of a request's row and of its answer."""


class BaseHandler:
    """What TorchServe loads: `initialize` once a worker, `handle` for every batch.

    Each request of a batch is parsed on its own. One that can't be answered gets its own status and its own
    `{"code", "type", "message"}`; the others are answered together, in one pass through the model.
    """

    model_class: ClassVar[type[ServedModel]]

    def __init__(self) -> None:
        self.model: ServedModel | None = None
        self._name = ("", "")

    def initialize(self, context: Any) -> None:
        """Load the archive that the worker has unpacked.

        Raises:
            TowersError: The archive or its settings can't be used or trusted, or a recorded request is not
                answered as it was at export; the worker's log ends with the reason.
        """
        begin = perf_counter()
        properties = context.system_properties
        folder = Path(properties["model_dir"])
        verify_signer(folder)
        config = getattr(context, "model_yaml_config", None)
        settings = Settings.from_config(config)
        threads = settings.threads or threads_of_worker(config)
        limit_blas(threads)
        execution = Execution(properties.get("gpu_id"), threads, settings.precision)
        self.model = self._load(folder, execution, settings.allow_cpu)
        samples = self.model.signature.samples
        if settings.warm_up and samples is not None:
            # Before the limits are set, since the answers were recorded without any.
            recorded = read_samples(folder / samples)
            check_samples(self._rehearse, recorded, settings.tolerance(self.model.signature.kind))
            warm_up(self._rehearse, recorded, properties.get("batch_size") or 1)
        self.model.limits = settings.limits
        measures.take()  # of requests that nobody sent
        took_over = take_over_batches()
        # What is loaded stays: without this every full collection looks through it all, torch's objects too,
        # which took a sixth of the time of answering.
        gc.collect()
        gc.freeze()
        served = _served(context, None)
        self._name = (served.name, served.version)
        metrics = getattr(context, "metrics", None)
        if metrics is not None:
            others = [LastTime(metrics).send] if took_over else []
            Reporter(metrics, self._name, others=others).start()
        log_event(
            "loaded",
            model=served.name,
            version=served.version,
            kind=self.model.signature.kind,
            gpu=execution.gpu_id,
            threads=threads,
            precision=execution.precision,
            pid=os.getpid(),
            seconds=round(perf_counter() - begin, 3),
        )

    def _load(self, folder: Path, execution: Execution, allow_cpu: bool) -> ServedModel:
        try:
            return self.model_class.load(folder, execution=execution, limits=None)
        except RuntimeUnavailableError as error:
            if execution.gpu_id is None or not allow_cpu:
                raise
            _LOGGER.warning("the model runs on the CPU, as torchtowers.allow_cpu allows: %s", error)
        return self.model_class.load(folder, execution=replace(execution, gpu_id=None), limits=None)

    def handle(self, data: Sequence[Mapping[str, object]], context: Any) -> list[bytes]:
        """Answer a batch of requests, each with the JSON of its answer or of its error.

        Args:
            data: What TorchServe hands over, a mapping for each request.
            context: The worker's context; takes each request's status and content type.
        """
        model = self.model
        if model is None:
            raise ArtifactError("handle was called before initialize")
        if _is_describe(data, context):
            return [json.dumps(self.describe_handle()).encode()]
        begin = perf_counter()
        answers: list[bytes | RequestError] = []
        dialects: list[str] = []
        read: list[tuple[int, Request[Any]]] = []
        for position, item in enumerate(data):
            dialect, request = _read(model, item, context.get_all_request_header(position))
            dialects.append(dialect)
            if isinstance(request, RequestError):
                answers.append(request)
            else:
                answers.append(b"")
                read.append((position, request))
        measures.add(STAGES, perf_counter() - begin, "encode")
        for position, answer in _answered(model, read, context):
            answers[position] = answer
        responses = [
            self._respond(context, position, answer, dialect)
            for position, (answer, dialect) in enumerate(zip(answers, dialects, strict=True))
        ]
        _count(answers, read, perf_counter() - begin)
        return responses

    def describe_handle(self) -> dict[str, Any]:
        """Tell what `GET /models/NAME?customized=true` answers: signature, JSON Schemas, OpenAPI document."""
        if self.model is None:
            raise ArtifactError("describe_handle was called before initialize")
        row, answer = self.model.schemas()
        signature = json.loads(self.model.signature.to_text())
        return {
            "signature": {name: value for name, value in signature.items() if name != "files"},
            "request": row,
            "answer": answer,
            "openapi": openapi(*self._name, row, answer),
        }

    def _rehearse(self, bodies: Sequence[Any]) -> list[bytes]:
        return self.handle([{"body": body} for body in bodies], _Rehearsal())

    def _respond(self, context: Any, position: int, answer: bytes | RequestError, dialect: str) -> bytes:
        context.set_response_content_type(position, "application/json")
        if isinstance(answer, bytes):
            return answer
        context.set_response_status(
            code=answer.code, phrase=responses.get(answer.code, "Bad Request"), idx=position
        )
        # By the headers and not by the dialect: a body may be refused before it is looked into.
        is_call = is_open_inference_call(context.get_all_request_header(position))
        return encode_error(answer, dialect, _served(context, position) if is_call else None)


class _Rehearsal:
    """The context of a batch that nobody sent."""

    model_name = ""
    manifest: ClassVar[Mapping[str, Any]] = {}

    def get_all_request_header(self, position: int) -> dict[str, Any]:
        """Give none."""
        return {}

    def set_response_content_type(self, position: int, value: str) -> None:
        """Pass it over."""

    def set_response_status(self, code: int, phrase: str, idx: int) -> None:
        """Pass it over: an error tells its code in its body, too."""


def _read(
    model: ServedModel, item: Mapping[str, object], headers: Mapping[str, Any]
) -> tuple[str, Request[Any] | RequestError]:
    """Give a request, or why there is none, and its dialect."""
    dialect = "plain"
    try:
        check_size(item, headers, model.limits.max_body_bytes)
        body = json_of(item, model.fields)
        dialect = dialect_of(body)
        if dialect == "open_inference" and is_open_inference_call(headers):
            body = with_texts(body)
        return dialect, model.read(body)
    except RequestError as error:
        return dialect, error
    except Exception as error:  # TorchServe would answer 503 to every request of the batch
        log_failure("a request could not be read", error)
        return dialect, InternalError()


def _answered(
    model: ServedModel, read: Sequence[tuple[int, Request[Any]]], context: Any
) -> Iterator[tuple[int, bytes | RequestError]]:
    """Answer what could be read, all of it in one pass; where that fails, each request by itself."""
    try:
        answered = list(_in_one_pass(model, read, context))
    except Exception as error:
        if len(read) == 1:
            ((position, _),) = read
            log_failure("a request could not be answered", error, _request_id(context, position))
            yield position, InternalError()
        else:
            log_failure("a batch could not be answered; its requests are answered one by one", error)
            for one in read:
                yield from _answered(model, [one], context)
    else:
        yield from answered


def _in_one_pass(
    model: ServedModel, read: Sequence[tuple[int, Request[Any]]], context: Any
) -> Iterator[tuple[int, bytes | RequestError]]:
    encoded = iter(model.answers([row for _, request in read for row in request.rows]) if read else ())
    for position, request in read:
        own = islice(encoded, len(request.rows))
        served = _served(context, position) if request.dialect == "open_inference" else None
        yield position, _together(model.limits.max_answer_bytes, request, own, served)


def _is_describe(data: Sequence[Mapping[str, object]], context: Any) -> bool:
    """Tell whether TorchServe asks for the model's description: alone, and without a body.

    A client can send the header, too, but not without any body.
    """
    if len(data) != 1 or data[0]:
        return False
    return bool(context.get_all_request_header(0).get("describe") == "True")


def _request_id(context: Any, position: int) -> str:
    return str((getattr(context, "request_ids", None) or {}).get(position, ""))


def _served(context: Any, position: int | None) -> Served:
    # Of another server's context neither may be there.
    model = (getattr(context, "manifest", None) or {}).get("model", {})
    return Served(
        getattr(context, "model_name", None) or model.get("modelName", ""),
        model.get("modelVersion", ""),
        position is not None and is_open_inference_call(context.get_all_request_header(position)),
    )


def _count(
    answers: Sequence[bytes | RequestError], read: Sequence[tuple[int, Request[Any]]], seconds: float
) -> None:
    failed = [answer for answer in answers if isinstance(answer, RequestError)]
    if len(answers) > len(failed):
        measures.add("torchtowers_requests_total", len(answers) - len(failed), "ok")
    for error in failed:
        measures.add("torchtowers_requests_total", 1, error.type)
    measures.add("torchtowers_rows_total", sum(len(request.rows) for _, request in read))
    measures.add("torchtowers_batches_total", 1)
    measures.add("torchtowers_batch_seconds_sum", seconds)
    measures.observe("torchtowers_batch_seconds", seconds, SECONDS)
    measures.observe("torchtowers_batch_size", len(answers), BATCH_SIZES)


def _together(
    most: int, request: Request[Any], rows: Iterable[bytes | RequestError], served: Served | None
) -> bytes | RequestError:
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
        answer = encode_answer(request, kept, served)
        if len(answer) <= most:
            return answer
        size = len(answer)
    return LimitError(
        f"the answer would be {size} bytes, at most {most} are allowed: ask for fewer rows, items or fields",
        code=413,
    )
