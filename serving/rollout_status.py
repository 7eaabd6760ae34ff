"""Tells of each version that a server has, where it stands in the rollouts."""

from dataclasses import dataclass
from pathlib import Path

from torchtowers.serving.deployments import Deployments
from torchtowers.serving.errors import ServerNotRunningError, ServingError
from torchtowers.serving.process import find
from torchtowers.serving.server import management_of
from torchtowers.serving.state import StateFolder

__all__ = ["ServedVersion", "rollout_status"]


@dataclass(frozen=True)
class ServedVersion:
    """One version that a server has.

    Args:
        name: The model.
        version: The version.
        default: Whether requests that name no version are its.
        ready: How many workers answer.
        wanted: How many should.
        waiting: Requests in its queue.
        archive: Its file in the model store.
        deployed: When it was deployed, in ISO 8601; None where a start of the server brought it.
        rollback: The version that `rollback` would put in its place; None where there is none.
    """

    name: str
    version: str
    default: bool
    ready: int
    wanted: int
    waiting: int
    archive: str
    deployed: str | None
    rollback: str | None


def rollout_status(name: str | None = None, *, state: str | Path | None = None) -> list[ServedVersion]:
    """Tell of each version of one model, or of all.

    Args:
        name: The model; None for all.
        state: The server's state folder, as for `start`.

    Raises:
        ServerNotRunningError: No server runs.
        ServingError: It has no such model.
    """
    folder = StateFolder(state)
    record = folder.read()
    if record is None or find(record.pid, record.create_time) is None:
        raise ServerNotRunningError(f"no server runs in {folder.path}")
    with management_of(folder, record) as management:
        models = management.models() if name is None else management.versions(name)
    if name is not None and not models:
        raise ServingError(f"{name}: no such model on the server at {record.inference}")
    deployments = Deployments(folder, Path(record.model_store))
    told = []
    for model in models:
        history = deployments.history(model.name)
        last = history[-1] if model.default and history and history[-1].version == model.version else None
        told.append(
            ServedVersion(
                name=model.name,
                version=model.version,
                default=model.default,
                ready=sum(worker.status == "READY" for worker in model.workers),
                wanted=model.wanted,
                waiting=model.waiting,
                archive=model.archive,
                deployed=(last.time or None) if last else None,
                rollback=history[-2].version if last and len(history) > 1 else None,
            )
        )
    return told
