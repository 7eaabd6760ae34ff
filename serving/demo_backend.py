"""Finds the server of a state folder and its models for the page, and asks them."""

import json
import tempfile
import time
from collections import OrderedDict
from pathlib import Path
from threading import Lock
from typing import Any
from urllib.parse import unquote, urlsplit

from torchtowers.handlers.errors import FieldError, RequestError, shorten
from torchtowers.serving.client import Client
from torchtowers.serving.demo_models import ShownModel
from torchtowers.serving.demo_requests import (
    Question,
    body_of,
    command_of,
    control_of,
    path_of,
    rows_of,
)
from torchtowers.serving.errors import AnswerError, ServerNotRunningError, ServingError
from torchtowers.serving.management import Model
from torchtowers.serving.server import Server, status
from torchtowers.serving.state import Record, StateFolder

__all__ = ["Backend"]

# Archives that are kept unpacked; those of a large catalogue take a second to look through.
_KEPT = 8
# Seconds for which the server isn't asked again what it serves.
_FRESH = 2.0


class Backend:
    """What the page asks; threads may share it. Close it, and its unpacked files are gone.

    Args:
        state: The server's state folder.
        names: The models to show; none shows all.
    """

    def __init__(self, state: str | Path | None = None, names: tuple[str, ...] = ()) -> None:
        self._state = state
        self._names = names
        self._lock = Lock()
        self._client: tuple[Record, Client] | None = None
        self._server: tuple[float, Server] | None = None
        self._shown: OrderedDict[tuple[str, int, int], ShownModel] = OrderedDict()
        self._folders: dict[tuple[str, int, int], tempfile.TemporaryDirectory[str]] = {}

    def close(self) -> None:
        """Close the connections, and remove what was unpacked."""
        with self._lock:
            if self._client is not None:
                self._client[1].close()
                self._client = None
            self._shown.clear()
            for folder in self._folders.values():
                folder.cleanup()
            self._folders.clear()

    def server(self) -> Server:
        """Give the server as it is, or was two seconds ago.

        Raises:
            ServerNotRunningError: None runs.
        """
        if self._server is not None and time.monotonic() - self._server[0] < _FRESH:
            return self._server[1]
        found = status(self._state)
        if found is None:
            raise ServerNotRunningError(f"no server runs in {StateFolder(self._state).path}")
        self._server = time.monotonic(), found
        return found

    def models(self) -> dict[str, Any]:
        """List the models to choose from, each with its versions.

        Raises:
            ServerNotRunningError: None runs.
            ServingError: It serves none of the models that were named.
        """
        server = self.server()
        models: dict[str, list[dict[str, Any]]] = {}
        for model in self._allowed(server):
            version = {"version": model.version, "default": model.default, "ready": model.ready}
            models.setdefault(model.name, []).append(version)
        return {
            "server": server.record.inference,
            "grpc": server.record.grpc,
            "models": [{"name": name, "versions": versions} for name, versions in models.items()],
        }

    def shown(self, name: str, version: str | None) -> ShownModel:
        """Load what is known of a model.

        Args:
            name: The model.
            version: Its version; None for the server's default one.

        Raises:
            ServerNotRunningError: No server runs.
            ServingError: It doesn't serve the model, or the archive can't be read.
            ArtifactError: The archive is altered or malformed.
        """
        server = self.server()
        archive = Path(server.record.model_store) / _file_of(self._model(server, name, version))
        try:
            found = archive.stat()
        except OSError as error:
            raise ServingError(
                f"{archive}: the archive that the server loaded can't be read ({error.strerror})"
            ) from None
        key = (str(archive), found.st_mtime_ns, found.st_size)
        with self._lock:
            if key not in self._shown:
                folder = tempfile.TemporaryDirectory(prefix="torchtowers-demo-")
                try:
                    self._shown[key] = ShownModel.load(archive, Path(folder.name))
                except BaseException:
                    folder.cleanup()
                    raise
                self._folders[key] = folder
            self._shown.move_to_end(key)
            while len(self._shown) > _KEPT:
                oldest, _ = self._shown.popitem(last=False)
                self._folders.pop(oldest).cleanup()
            return self._shown[key]

    def ask(self, question: Question) -> dict[str, Any]:
        """Send a request, and tell what went over the wire.

        Returns:
            `rows` or `error`, and of what was sent `request`, `answer`, `target`, `command`, and `ms`, the
            milliseconds until the answer was there and parsed; all but `error` are missing where nothing was.
        """
        shown = self.shown(question.model, question.version)
        try:
            body = body_of(question, shown.encoder.key, shown.encoders)
        except RequestError as error:
            return {"error": _error_of(error.body(), {})}
        record, client = self._connected()
        state = None if self._state is None else str(StateFolder(self._state).path)
        text = json.dumps(body, ensure_ascii=False)
        sent: dict[str, Any] = {
            "request": body,
            "target": f"gRPC Predictions {question.model}" if question.grpc else f"POST {path_of(question)}",
            "command": command_of(question, text, record.inference, state),
        }
        begun = time.perf_counter()
        try:
            answer = client.predict(
                question.model,
                body,
                version=question.version,
                grpc=question.grpc,
                path=path_of(question),
            )
        except AnswerError as error:
            told = {"code": error.code, "type": error.type, "message": str(error), "field": error.field}
            answer = {name: value for name, value in told.items() if value is not None}
            sent["error"] = _error_of(told, body)
        else:
            sent["rows"] = rows_of(question.dialect, answer, shown.texts)
        return {**sent, "answer": answer, "ms": (time.perf_counter() - begun) * 1000}

    def _connected(self) -> tuple[Record, Client]:
        """Give a client of the server that runs now: it may have been started anew."""
        with self._lock:
            record = StateFolder(self._state).read()
            if self._client is None or self._client[0] != record:
                client = Client.from_state(self._state)
                if self._client is not None:
                    self._client[1].close()
                if record is None:
                    raise ServerNotRunningError(f"no server runs in {StateFolder(self._state).path}")
                self._client = record, client
            return self._client

    def _model(self, server: Server, name: str, version: str | None) -> Model:
        versions = [model for model in self._allowed(server) if model.name == name]
        if not versions:
            raise FieldError("model", name, "a model that the server serves")
        for model in versions:
            if model.version == version or (version is None and model.default):
                return model
        there = ", ".join(model.version for model in versions)
        raise FieldError("version", version, f"one of the versions of {shorten(name)}, {there}")

    def _allowed(self, server: Server) -> list[Model]:
        allowed = [model for model in server.models if not self._names or model.name in self._names]
        if not allowed:
            served = ", ".join(sorted({model.name for model in server.models})) or "nothing yet"
            raise ServingError(
                f"the server at {server.record.inference} serves {served}"
                + (
                    f", not {', '.join(self._names)}"
                    if self._names
                    else ": look at `torchtowers serve status`"
                )
            )
        return allowed


def _file_of(model: Model) -> str:
    """Give the archive's name in the model store; the server also tells it as a URL."""
    return Path(unquote(urlsplit(model.archive).path)).name


def _error_of(told: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
    return {**told, "control": control_of(told.get("field"), body)}
