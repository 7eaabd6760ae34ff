"""Asks a server over its management API what it serves, and changes it."""

import time
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx

from torchtowers.serving.errors import AnswerError, ServerNotRunningError
from torchtowers.serving.tokens import Tokens

__all__ = ["Management", "Model", "Worker"]

# The server walks over its lists while they change, and answers 500 then.
_TRIES = 5
_PAUSE = 0.2


@dataclass(frozen=True)
class Worker:
    """One worker process of a model.

    Args:
        id: TorchServe's number for it.
        status: `READY`, or `UNLOADING` while it loads, restarts or ends.
        pid: Its process; -1 while there is none.
    """

    id: str
    status: str
    pid: int


@dataclass(frozen=True)
class Model:
    """One version of a model that a server knows.

    Args:
        name: The model's name.
        version: Its version.
        wanted: The number of workers that it should have.
        workers: Those that it has.
        default: Whether requests that name no version are this one's.
        archive: The archive's file in the model store.
        waiting: Requests in its queue.
    """

    name: str
    version: str
    wanted: int
    workers: tuple[Worker, ...]
    default: bool
    archive: str
    waiting: int

    @property
    def ready(self) -> bool:
        """Whether every worker answers requests."""
        return len(self.workers) >= self.wanted and all(worker.status == "READY" for worker in self.workers)


class Management:
    """A connection to a management API; close it, or use it in a `with` block.

    Args:
        address: The API's address, such as `http://127.0.0.1:8081`.
        tokens: The server's keys; None where it wants none.
        timeout: Seconds that one request may take.
    """

    def __init__(self, address: str, tokens: Tokens | None, *, timeout: float = 10.0) -> None:
        self._address = address
        self._tokens = tokens
        self._http = httpx.Client(base_url=address, timeout=timeout, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def models(self) -> tuple[Model, ...]:
        """Give every version of every model, with its workers.

        Raises:
            ServerNotRunningError: Nobody answers at the address.
            AnswerError: The server refuses.
        """
        names: list[str] = []
        page = ""
        while True:
            answer = self._ask("GET", f"/models?limit=1000{page}")
            names += [model["modelName"] for model in answer["models"]]
            if not answer.get("nextPageToken"):
                break
            page = f"&next_page_token={answer['nextPageToken']}"
        return tuple(version for name in names for version in self.versions(name))

    def versions(self, name: str) -> tuple[Model, ...]:
        """Give every version of one model; none where the server doesn't know it.

        Raises:
            ServerNotRunningError: Nobody answers at the address.
            AnswerError: The server refuses.
        """
        path = f"/models/{quote(name, safe='')}"
        try:
            default = self._ask("GET", path)[0]["modelVersion"]
            return tuple(_model(version, default) for version in self._ask("GET", f"{path}/all"))
        except AnswerError as error:
            if error.code == 404:
                return ()
            raise

    def register(self, archive: str, *, workers: int, timeout: float) -> None:
        """Have an archive of the model store unpacked, and its workers started; doesn't wait for them.

        Args:
            archive: The file's name in the model store.
            workers: How many to start where the archive's own configuration doesn't say.
            timeout: Seconds that unpacking may take.

        Raises:
            ServerNotRunningError: Nobody answers at the address.
            AnswerError: The server refuses; 405 where it was started without its model API.
        """
        query = f"url={quote(archive, safe='')}&initial_workers={workers}&synchronous=false"
        self._ask("POST", f"/models?{query}", timeout=timeout, again=False)

    def scale(self, name: str, version: str, workers: int) -> None:
        """Have a version run by so many workers; doesn't wait for them.

        Raises:
            ServerNotRunningError: Nobody answers at the address.
            AnswerError: The server refuses.
        """
        self._ask("PUT", f"{_path(name, version)}?min_worker={workers}&max_worker={workers}")

    def set_default(self, name: str, version: str) -> None:
        """Give a version the requests that name none.

        Raises:
            ServerNotRunningError: Nobody answers at the address.
            AnswerError: The server refuses.
        """
        self._ask("PUT", f"{_path(name, version)}/set-default")

    def unregister(self, name: str, version: str, *, timeout: float) -> None:
        """Remove a version with its workers; requests that it holds are never answered, so drain it first.

        Args:
            name: The model.
            version: The version; nothing happens where the server doesn't know it.
            timeout: Seconds that ending its workers may take.

        Raises:
            ServerNotRunningError: Nobody answers at the address.
            AnswerError: The server refuses.
        """
        try:
            self._ask("DELETE", _path(name, version), timeout=timeout)
        except AnswerError as error:
            # A first try that answered 500 may have removed it.
            if error.code != 404:
                raise

    def describe(self, name: str, version: str | None = None) -> dict[str, Any]:
        """Have a worker tell what its model takes and gives: signature, JSON Schemas, OpenAPI document.

        Args:
            name: The model.
            version: The version; None for the default one.

        Raises:
            ServerNotRunningError: Nobody answers at the address.
            AnswerError: The server refuses, or the model's handler does not describe itself.
        """
        path = _path(name, version) if version else f"/models/{quote(name, safe='')}"
        (model,) = self._ask("GET", f"{path}?customized=true")
        described = model.get("customizedMetadata")
        if not isinstance(described, dict):
            raise AnswerError(f"{name}: its handler does not tell what it takes", code=501, type="no_schema")
        return described

    def probe(self, name: str, version: str, *, timeout: float) -> None:
        """Have one worker of a version answer a question of its own, after what it was asked before.

        Whatever the worker answers is good; handlers need not know how to describe themselves.

        Raises:
            ServerNotRunningError: Nobody answers at the address.
            AnswerError: No worker answered in time.
        """
        self._send("GET", f"{_path(name, version)}?customized=true", timeout)

    def _ask(self, method: str, path: str, *, timeout: float | None = None, again: bool = True) -> Any:
        for tries_left in reversed(range(_TRIES if again else 1)):
            answer = self._send(method, path, timeout)
            if answer.status_code < 500 or not tries_left:
                break
            time.sleep(_PAUSE)
        if answer.status_code >= 300:
            raise _error(f"{self._address}{path}", answer)
        return answer.json()

    def _send(self, method: str, path: str, timeout: float | None) -> httpx.Response:
        token = self._tokens.current("management") if self._tokens else None
        allowed = self._http.timeout if timeout is None else httpx.Timeout(timeout)
        try:
            answer = self._http.request(method, path, headers=_authorization(token), timeout=allowed)
            if self._tokens and token and _refused(answer):
                token = self._tokens.renew("management", token)
                answer = self._http.request(method, path, headers=_authorization(token), timeout=allowed)
        except httpx.TimeoutException:
            seconds = f"{allowed.read:g} s"
            raise AnswerError(
                f"{self._address}{path}: no answer within {seconds}", code=504, type="timeout"
            ) from None
        except httpx.TransportError as error:
            raise ServerNotRunningError(f"no server answers at {self._address} ({error})") from None
        return answer


def _path(name: str, version: str) -> str:
    return f"/models/{quote(name, safe='')}/{quote(version, safe='')}"


def _error(url: str, answer: httpx.Response) -> AnswerError:
    kind, text = "unknown", " ".join(answer.text.split())
    try:
        body = answer.json()
        kind, text = str(body["type"]), str(body["message"])
    except (ValueError, TypeError, KeyError):
        pass
    return AnswerError(f"{url}: status {answer.status_code}: {text}", code=answer.status_code, type=kind)


def _authorization(token: str | None) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} if token else {}


def _refused(answer: httpx.Response) -> bool:
    return answer.status_code == 400 and "InvalidKeyException" in answer.text


def _model(described: dict[str, Any], default: str) -> Model:
    workers = tuple(
        Worker(str(worker["id"]), str(worker["status"]), int(worker["pid"]))
        for worker in described["workers"]
    )
    version = described["modelVersion"]
    return Model(
        name=described["modelName"],
        version=version,
        wanted=int(described["minWorkers"]),
        workers=workers,
        default=version == default,
        archive=str(described["modelUrl"]),
        waiting=int(described["jobQueueStatus"]["pendingRequests"]),
    )
