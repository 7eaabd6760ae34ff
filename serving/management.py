"""Asks a server over its management API what it serves."""

from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import httpx

from torchtowers.serving.errors import ServerNotRunningError, ServingError
from torchtowers.serving.tokens import Tokens

__all__ = ["Management", "Model", "Worker"]


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
    """

    name: str
    version: str
    wanted: int
    workers: tuple[Worker, ...]
    default: bool
    archive: str

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
            ServingError: The server refuses.
        """
        names: list[str] = []
        page = ""
        while True:
            answer = self._get(f"/models?limit=1000{page}")
            names += [model["modelName"] for model in answer["models"]]
            if not answer.get("nextPageToken"):
                break
            page = f"&next_page_token={answer['nextPageToken']}"
        return tuple(version for name in names for version in self._versions(name))

    def _versions(self, name: str) -> tuple[Model, ...]:
        default = self._get(f"/models/{name}")[0]["modelVersion"]
        return tuple(_model(version, default) for version in self._get(f"/models/{name}/all"))

    def _get(self, path: str) -> Any:
        try:
            token = self._tokens.current("management") if self._tokens else None
            answer = self._http.get(path, headers=_authorization(token))
            if self._tokens and token and _refused(answer):
                token = self._tokens.renew("management", token)
                answer = self._http.get(path, headers=_authorization(token))
        except httpx.TransportError as error:
            raise ServerNotRunningError(f"no server answers at {self._address} ({error})") from None
        if answer.status_code != 200:
            raise ServingError(
                f"{self._address}{path}: status {answer.status_code}: {' '.join(answer.text.split())}"
            )
        return answer.json()


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
    )
