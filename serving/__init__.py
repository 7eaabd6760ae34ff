"""Starts and stops TorchServe, and asks it."""

from torchtowers.serving.errors import ServingError

try:
    from torchtowers.serving.client import Client
    from torchtowers.serving.management import Model, Worker
    from torchtowers.serving.server import Server, current_token, start, status, stop
except ModuleNotFoundError as missing:
    if missing.name is None or missing.name.split(".")[0] not in ("google", "grpc", "httpx", "psutil"):
        raise
    raise ServingError(f"{missing.name} is not installed: pip install 'torchtowers[serve]'") from missing

__all__ = ["Client", "Model", "Server", "Worker", "current_token", "start", "status", "stop"]
