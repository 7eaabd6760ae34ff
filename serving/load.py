"""Measures a served model under load: throughput, percentiles, errors, and whether the answers are right."""

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from torchtowers.handlers.agreement import Tolerance
from torchtowers.handlers.errors import shorten
from torchtowers.serving.client import Client
from torchtowers.serving.errors import AnswerError, ServerNotRunningError, ServingError
from torchtowers.serving.load_grpc import GrpcLoad
from torchtowers.serving.load_http import HttpLoad
from torchtowers.serving.load_record import Recorder, encoded
from torchtowers.serving.model_config import served_tolerance
from torchtowers.serving.server import current_token
from torchtowers.serving.state import StateFolder

__all__ = ["PERCENTILES", "LoadResult", "measure_load", "right_answers", "run_load"]

PERCENTILES = (50, 90, 95, 99, 99.9)

# Seconds between two lines of progress.
_TELL = 5.0


@dataclass(frozen=True)
class LoadResult:
    """What a load measurement saw.

    Args:
        name: The model.
        clients: How many asked at once, each the next request as soon as its last was answered.
        seconds: How long.
        protocol: `REST` or `gRPC`.
        milliseconds: Of each request that was answered without an error, float32 `[answered]`.
        finished: When each answer came, seconds from the beginning, float64 `[answered]`.
        errors: By kind, such as `503 ServiceUnavailableException`, how many.
        checked: Answers that were compared with the right one.
        wrong: Those that were not like it.
        first_wrong: The first of them; None without one.
    """

    name: str
    clients: int
    seconds: float
    protocol: str
    milliseconds: NDArray[np.float32]
    finished: NDArray[np.float64]
    errors: dict[str, int]
    checked: int
    wrong: int
    first_wrong: str | None

    @property
    def requests_per_second(self) -> float:
        """Answers without an error, a second."""
        return len(self.milliseconds) / self.seconds

    @property
    def failed(self) -> int:
        """Requests that were answered with an error or not at all."""
        return sum(self.errors.values())

    def percentile(self, percent: float) -> float | None:
        """Give a percentile of the latency in milliseconds; None without an answer."""
        return float(np.percentile(self.milliseconds, percent)) if len(self.milliseconds) else None

    def to_json(self) -> dict[str, Any]:
        """Give the figures for machines."""
        return {
            "name": self.name,
            "protocol": self.protocol,
            "clients": self.clients,
            "seconds": self.seconds,
            "answered": len(self.milliseconds),
            "requests_per_second": round(self.requests_per_second, 1),
            "milliseconds": {
                **{f"p{percent:g}": _rounded(self.percentile(percent)) for percent in PERCENTILES},
                "max": _rounded(self.percentile(100)),
            },
            "errors": self.errors,
            "checked": self.checked,
            "wrong": self.wrong,
        }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def measure_load(
    name: str,
    requests: Sequence[Any],
    *,
    expected: Sequence[Any] | None = None,
    tolerance: Tolerance | None = None,
    clients: int = 64,
    seconds: float = 30.0,
    warm_up: float = 2.0,
    version: str | None = None,
    grpc: bool = False,
    check: bool = True,
    timeout: float = 30.0,
    state: str | Path | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> LoadResult:
    """Send requests to the server of a state folder from many clients at once.

    Args:
        name: The model.
        requests: Bodies, which are asked by turns.
        expected: For each its right answer; by default what the server answers to it alone beforehand.
        tolerance: How far an answer may differ from it; by default what the archive's precision needs.
        clients: How many ask at once, each over a connection of its own (over gRPC they share one).
        seconds: How long it is measured.
        warm_up: Seconds of load before that.
        version: The model's version; None for the default one.
        grpc: Ask over gRPC rather than REST.
        check: Whether answers are compared with the right ones.
        timeout: Seconds that one answer may take.
        state: The server's state folder, as for `start`.
        progress: Told how it goes, a line every few seconds.

    Raises:
        ServingError: There are no requests, no server runs, or a request gets an error already without load.
    """
    if not requests:
        raise ServingError("no requests to send: give some with --input")
    with Client.from_state(state) as client:  # which raises where no server runs
        right = right_answers(
            client,
            name,
            requests,
            expected,
            version=version,
            grpc=grpc,
            check=check,
            timeout=timeout,
            say=progress,
        )
    record = StateFolder(state).read()
    if record is None:
        raise ServerNotRunningError("the server was stopped")
    token = current_token("inference", state) if record.token_authorization else None
    if tolerance is None:
        tolerance = served_tolerance(Path(record.model_store), name, version)
    recorder = Recorder(encoded(requests), right, tolerance)

    def load() -> HttpLoad | GrpcLoad:
        if grpc:
            return GrpcLoad(record.grpc, name, version, recorder, token, timeout)
        path = f"/predictions/{quote(name, safe='')}" + (f"/{quote(version, safe='')}" if version else "")
        return HttpLoad(record.inference, path, recorder, token, timeout)

    return run_load(
        load, recorder, name, clients=clients, seconds=seconds, warm_up=warm_up, progress=progress
    )


def run_load(
    make: Callable[[], HttpLoad | GrpcLoad],
    recorder: Recorder,
    name: str,
    *,
    clients: int,
    seconds: float,
    warm_up: float = 2.0,
    progress: Callable[[str], None] = lambda _: None,
) -> LoadResult:
    """Let clients send a recorder's requests to whatever server.

    Args:
        make: Gives what sends; called in the event loop.
        recorder: Gives requests and takes answers.
        name: Of what is measured.
        clients: How many ask at once.
        seconds: How long it is measured.
        warm_up: Seconds of load before that.
        progress: Told how it goes, a line every few seconds.
    """
    protocol = asyncio.run(_run(make, recorder, clients, seconds, warm_up, progress))
    return LoadResult(
        name=name,
        clients=clients,
        seconds=seconds,
        protocol=protocol,
        milliseconds=np.array(recorder.milliseconds, np.float32),
        finished=np.array(recorder.finished, np.float64),
        errors=dict(recorder.errors.most_common()),
        checked=recorder.checked,
        wrong=recorder.wrong,
        first_wrong=recorder.first_wrong,
    )


def right_answers(
    client: Client,
    name: str,
    requests: Sequence[Any],
    expected: Sequence[Any] | None,
    *,
    version: str | None,
    grpc: bool,
    check: bool,
    timeout: float,
    say: Callable[[str], None],
) -> Sequence[Any]:
    """Ask all or one, so that a request that gets an error without load is told of, and nothing measured.

    Args:
        client: Of the server.
        name: The model.
        requests: Bodies.
        expected: For each its right answer, where they are known.
        version: The model's version; None for the default one.
        grpc: Ask over gRPC rather than REST.
        check: Whether answers will be compared with the right ones.
        timeout: Seconds that one answer may take.
        say: Told what is done.

    Returns:
        For each request its right answer; None where it won't be compared.

    Raises:
        ServingError: A request gets an error.
    """
    asked = requests if check and expected is None else requests[:1]
    if len(asked) > 1:
        say(f"asking {len(asked):,} requests one after the other for their answers")
    answers = []
    for body in asked:
        try:
            answers.append(client.predict(name, body, version=version, grpc=grpc, timeout=timeout))
        except AnswerError as error:
            raise ServingError(f"{shorten(json.dumps(body))} gets an error without load: {error}") from error
    if not check:
        return [None] * len(requests)
    return answers if expected is None else expected


async def _run(
    make: Callable[[], HttpLoad | GrpcLoad],
    recorder: Recorder,
    clients: int,
    seconds: float,
    warm_up: float,
    say: Callable[[str], None],
) -> str:
    load = make()  # in the loop that it belongs to
    running = [asyncio.create_task(load.client()) for _ in range(clients)]
    try:
        await _passed(running, warm_up)
        recorder.measure(seconds)
        while recorder.is_due and not all(task.done() for task in running):
            before, began = len(recorder.milliseconds), perf_counter()
            await _passed(running, min(_TELL, max(0.0, recorder.end - began)))
            answered = len(recorder.milliseconds) - before
            say(
                f"{perf_counter() - recorder.begin:.0f} of {seconds:g} s: "
                f"{answered / (perf_counter() - began):,.0f} requests/s, "
                f"{sum(recorder.errors.values()):,} errors, {recorder.wrong:,} wrong answers"
            )
        await asyncio.gather(*running)
    finally:
        for task in running:
            task.cancel()
        await load.close()
    return load.protocol


async def _passed(running: Sequence[asyncio.Task[None]], seconds: float) -> None:
    """Wait some seconds; a fault of ours in a client ends the measurement at once."""
    if seconds > 0:
        done, _ = await asyncio.wait(running, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()
