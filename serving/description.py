"""Asks a running model what it takes and gives."""

from pathlib import Path
from typing import Any

from torchtowers.serving.errors import ServerNotRunningError
from torchtowers.serving.process import find
from torchtowers.serving.server import management_of
from torchtowers.serving.state import StateFolder

__all__ = ["describe"]


def describe(name: str, *, version: str | None = None, state: str | Path | None = None) -> dict[str, Any]:
    """Tell what a model takes and gives.

    Args:
        name: The model.
        version: Its version; by default the server's default one.
        state: The server's state folder, as for `start`.

    Returns:
        `signature`; `request` and `answer`, the JSON Schemas of a row in the plain dialect and of its
        answer; and `openapi`, the OpenAPI 3.1 document of its routes.

    Raises:
        ServerNotRunningError: No server runs.
        AnswerError: There is no such model, or its handler does not describe itself.
    """
    folder = StateFolder(state)
    record = folder.read()
    if record is None or find(record.pid, record.create_time) is None:
        raise ServerNotRunningError(f"no server runs in {folder.path}")
    with management_of(folder, record) as management:
        return management.describe(name, version)
