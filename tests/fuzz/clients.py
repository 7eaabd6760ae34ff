"""Clients of a real TorchServe that send fuzzed requests over REST and gRPC, and look at what comes back."""

import http.client
import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from random import Random
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import grpc
import pytest

from tests.fuzz.corpus import requests
from tests.fuzz.mutations import VALUES, arbitrary_values, dumped, mutated, mutated_bytes
from tests.handlers.small import strict_json
from tests.open_inference import message_of, send_message
from tests.servers import MODELS
from torchtowers.serving import Server, current_token, status
from torchtowers.serving.grpc_messages import PREDICTIONS, PredictionResponse, PredictionsRequest

__all__ = ["Fuzzer", "Seen", "clients", "pids"]

USERS, ITEMS = ("u3", "u7", "nobody"), ("100", "101", "102")
ROUTES = ("/predictions/{}", "/v1/models/{}:predict", "/v2/models/{}/infer")
GOOD = {
    "tiny-onnx": {"user_id": "u3", "k": 5},
    "ranking-onnx": {"user_id": "u3", "candidates": ["100", "101", "x"]},
    "both-onnx": {"user_id": "u3", "k": 5},
}
JSON = "application/json"
TYPES = (
    *(JSON, "application/json; charset=utf-8", "APPLICATION/JSON", "application/json; charset=utf-16"),
    *("text/plain", "text/plain; charset=latin-1", "application/octet-stream", "application/x-protobuf"),
    *(
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        "multipart/form-data; boundary=x",
        "a/b/c",
        "",
    ),
)


def pids(server: Server) -> dict[int, str]:
    """Give the processes of a server's workers, which have to be ready, with their models."""
    told = status(server.state)
    assert told is not None
    assert told.ready
    return {worker.pid: model.name for model in told.models for worker in model.workers}


@dataclass
class Seen:
    """What came back: which status how often, what must not happen, and the good requests' answers."""

    statuses: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    answers: dict[str, Any] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, way: str, code: int | str, sent: object, content: bytes, *, bad: bool) -> None:
        with self.lock:
            self.statuses[f"{way} {code}"] += 1
            if bad and len(self.wrong) < 20:
                self.wrong.append(f"{way} {code}: {content[:300]!r} to {str(sent)[:600]}")


class Fuzzer:
    """One client: a kept connection of each kind, and requests that follow from its seed."""

    def __init__(self, server: Server, seed: int, values: tuple[Any, ...], seen: Seen) -> None:
        self.random = Random(seed)
        self.values = values
        self.seen = seen
        self.token = current_token(state=server.state)
        parts = urlsplit(server.record.inference)
        self.http = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
        self.channel = grpc.insecure_channel(server.record.grpc, options=[("grpc.enable_http_proxy", 0)])
        self.bodies = {name: requests(USERS, ITEMS, kind) for name, kind in MODELS.items()}

    def run(self, count: int, stopped: threading.Event | None = None) -> None:
        """Send so many requests, or fewer if it is stopped before."""
        ways = (self.json_over_rest, self.json_over_rest, self.bytes_over_rest, self.form, self.multipart)
        ways += (self.predictions, self.predictions, self.model_infer)  # type: ignore[assignment]
        with self.channel:
            for number in range(count):
                if stopped is not None and stopped.is_set():
                    break
                name = self.random.choice(list(MODELS))
                self.random.choice(ways)(name)
                if number % 20 == 0:
                    self.good(name)
        self.http.close()

    def good(self, name: str) -> None:
        code, content = self._post(f"/predictions/{name}", dumped(GOOD[name]), JSON)
        answer = json.loads(content)
        self.seen.add("good", code, name, content, bad=code != 200 or answer.keys() != {"items", "scores"})
        with self.seen.lock:
            first = self.seen.answers.setdefault(name, answer)
        same = answer["items"] == first["items"] and answer["scores"] == pytest.approx(
            first["scores"], abs=1e-4
        )
        if not same:
            self.seen.add("good", "other", first, content, bad=True)

    def json_over_rest(self, name: str) -> None:
        self._rest("json", name, dumped(self._body(name)), JSON)

    def bytes_over_rest(self, name: str) -> None:
        kind = self.random.choice(TYPES) if self.random.random() < 0.5 else JSON
        content = dumped(self._body(name))
        if self.random.random() < 0.7:
            content = mutated_bytes(self.random, content)
        self._rest("bytes", name, content, kind)

    def form(self, name: str) -> None:
        body = self._body(name)
        fields = body if isinstance(body, dict) else {"body": body}
        texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in fields.items()}
        content = urlencode(texts, errors="surrogatepass").encode()
        if self.random.random() < 0.3:
            content = mutated_bytes(self.random, content)
        self._rest("form", name, content, "application/x-www-form-urlencoded")

    def multipart(self, name: str) -> None:
        body = self._body(name)
        fields = body if isinstance(body, dict) else {"data": body}
        content = b""
        for key, value in fields.items():
            text = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else dumped(value)
            label = quote(key, errors="surrogatepass")
            content += b'--x\r\nContent-Disposition: form-data; name="%s"' % label.encode()
            if self.random.random() < 0.3:
                content += b'; filename="a.json"\r\nContent-Type: application/json'
            content += b"\r\n\r\n" + text + b"\r\n"
        content += b"--x--\r\n"
        if self.random.random() < 0.3:
            content = mutated_bytes(self.random, content)
        self._rest("multipart", name, content, "multipart/form-data; boundary=x")

    def predictions(self, name: str) -> None:
        content = dumped(self._body(name))
        if self.random.random() < 0.3:
            content = mutated_bytes(self.random, content)
        key = self.random.choice(("body", "body", "data", "user_id", "", "k"))
        sent = PredictionsRequest(model_name=name, input={key: content})
        call = self.channel.unary_unary(
            PREDICTIONS,
            request_serializer=PredictionsRequest.SerializeToString,
            response_deserializer=PredictionResponse.FromString,
        )
        try:
            answer = call(sent, timeout=60, metadata=self._metadata()).prediction
        except grpc.RpcError as error:
            self.seen.add("grpc", error.code().name, (key, content), str(error).encode(), bad=True)
        else:
            self._check("grpc", 200, (key, content), answer)

    def model_infer(self, name: str) -> None:
        body = {key: value for key, value in self.bodies[name][7].items() if key in ("id", "inputs")}
        message = None
        while message is None:
            # What protobuf itself refuses can't be sent.
            with suppress(LookupError, TypeError, ValueError, AttributeError, OverflowError):
                message = message_of(mutated(self.random, body, self.values), name)
        try:
            answer = send_message(self.channel, message, self.token)
        except grpc.RpcError as error:
            # TorchServe's own answer to NaN, which its JSON can't hold.
            is_own = error.code() is grpc.StatusCode.UNKNOWN and b"torchtowers" not in message
            self.seen.add("infer", error.code().name, message, str(error).encode(), bad=not is_own)
        else:
            outputs = {output["name"]: output["data"] for output in answer["outputs"]}
            code = json.loads(outputs["error"][0])["code"] if "error" in outputs else 200
            self.seen.add("infer", code, message, str(outputs).encode(), bad=code >= 500)

    def _body(self, name: str) -> Any:
        body = self.random.choice(self.bodies[name])
        match self.random.randrange(16):
            case 0:
                return self.random.choice(self.values)
            case 1 | 2:
                return body
            case _:
                return mutated(self.random, body, self.values)

    def _metadata(self) -> tuple[tuple[str, str]]:
        return (("authorization", f"Bearer {self.token}"),)

    def _rest(self, way: str, name: str, content: bytes, content_type: str) -> None:
        route = self.random.choice(ROUTES).format(name)
        try:
            code, answer = self._post(route, content, content_type)
        except (OSError, http.client.HTTPException) as error:
            self.seen.add(way, type(error).__name__, (route, content_type, content), b"", bad=True)
            self.http.close()
        else:
            self._check(way, code, (route, content_type, content), answer)

    def _post(self, route: str, content: bytes, content_type: str) -> tuple[int, bytes]:
        headers = {"Authorization": f"Bearer {self.token}"}
        if content_type:
            headers["Content-Type"] = content_type
        self.http.request("POST", route, content, headers)
        answer = self.http.getresponse()
        return answer.status, answer.read()

    def _check(self, way: str, code: int, sent: tuple[Any, ...], content: bytes) -> None:
        try:
            answer = strict_json(content)
            told = answer.get("code", code)
            leaks = "Traceback" in str(answer.get("message")) or ".py" in str(answer.get("message"))
        except (ValueError, AssertionError, AttributeError):
            self.seen.add(way, "no JSON", sent, content, bad=True)
        else:
            agrees = told == code or way == "grpc"
            if "form" in str(sent[1]) and is_java_exception(answer):
                self.seen.add(way, "no form", sent, content, bad=False)
            else:
                self.seen.add(way, told, sent, content, bad=told >= 500 or leaks or not agrees)


def is_java_exception(answer: dict[str, Any]) -> bool:
    """Tell whether TorchServe failed to take a form apart: it answers 500 by itself, and asks no worker."""
    kind = answer.get("type", "")
    of_worker = ("InternalServerException", "ServiceUnavailableException")
    return answer.get("code") == 500 and kind.endswith("Exception") and kind not in of_worker


@contextmanager
def clients(
    server: Server, number: int, count: int, *, seed: int = 0
) -> Iterator[tuple[Seen, list[threading.Thread]]]:
    """Run so many clients of `count` requests each; they are stopped at the end of the block."""
    seen, stopped = Seen(), threading.Event()
    values = (*VALUES, *arbitrary_values(300))
    threads = [
        threading.Thread(target=Fuzzer(server, seed + place, values, seen).run, args=(count, stopped))
        for place in range(number)
    ]
    for thread in threads:
        thread.start()
    try:
        yield seen, threads
    finally:
        stopped.set()
        for thread in threads:
            thread.join()
