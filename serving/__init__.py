"""Starts and stops TorchServe, asks it, and puts new versions of models in place."""

from torchtowers.serving.errors import ServingError

try:
    from torchtowers.serving.async_client import AsyncClient
    from torchtowers.serving.client import Client
    from torchtowers.serving.conversation import Retry
    from torchtowers.serving.description import describe
    from torchtowers.serving.management import Model, Worker
    from torchtowers.serving.rollout import Deployment, deploy, rollback
    from torchtowers.serving.rollout_status import ServedVersion, rollout_status
    from torchtowers.serving.server import Server, current_token, start, status, stop
except ModuleNotFoundError as missing:
    if missing.name is None or missing.name.split(".")[0] not in ("google", "grpc", "httpx", "psutil"):
        raise
    raise ServingError(f"{missing.name} is not installed: pip install 'torchtowers[serve]'") from missing

__all__ = [
    "AsyncClient",
    "Client",
    "Deployment",
    "Model",
    "Retry",
    "ServedVersion",
    "Server",
    "Worker",
    "current_token",
    "deploy",
    "describe",
    "rollback",
    "rollout_status",
    "start",
    "status",
    "stop",
]
