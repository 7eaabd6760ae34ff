"""Archives, configurations and servers for tests that ask a real TorchServe."""

import json
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from torchtowers.serving import Server, start, stop
from torchtowers.serving.errors import ServerNotRunningError
from torchtowers.serving.ports import free_ports as free_ports

ROOT_CONFIG = Path(__file__).parents[1] / "config.properties"

MODELS = {"tiny-onnx": "retrieval", "ranking-onnx": "ranking", "both-onnx": "two_stage"}
"""The models of the store `mixed_archives`, one of each kind."""

ECHO_HANDLER = """
import json
import time


class Echo:
    def initialize(self, context):
        self.version = context.manifest["model"]["modelVersion"]

    def handle(self, data, context):
        return [self.answer(row["body"], index, context) for index, row in enumerate(data)]

    def answer(self, body, index, context):
        if isinstance(body, (bytes, bytearray)):
            body = json.loads(bytes(body))
        if "raise" in body:
            raise RuntimeError(body["raise"])
        if "user_id" not in body:
            context.set_response_status(400, "Bad Request", index)
            return {"code": 400, "type": "bad_field", "message": "user_id: expected a string, got nothing"}
        time.sleep(body.get("sleep", 0))
        return {"items": [body["user_id"], "\\u00e9", self.version], "scores": [1.0, 0.5, 0.25]}
"""


def write_archive(
    store: Path,
    name: str,
    handler: str = ECHO_HANDLER,
    *,
    version: str = "1.0",
    file: str | None = None,
    model_config: str | None = None,
) -> Path:
    """Write the smallest archive that TorchServe loads: a handler, a manifest, a configuration if given."""
    path = store / (file or f"{name}.mar")
    model = {"modelName": name, "handler": f"{name}_handler.py", "modelVersion": version}
    if model_config is not None:
        model["configFile"] = "model-config.yaml"
    manifest = {
        "runtime": "python",
        "model": model,
        "archiverVersion": "0.12.0",
        "createdOn": "01/01/2025 00:00:00",
    }
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}_handler.py", handler)
        if model_config is not None:
            archive.writestr("model-config.yaml", model_config)
        archive.writestr("MAR-INF/MANIFEST.json", json.dumps(manifest))
    return path


def free_ports_config(folder: Path, **changed: str) -> Path:
    """Write the project's own config.properties with free ports, and `changed` keys in place of its own."""
    ports = free_ports(5)
    values = {
        "inference_address": f"http://127.0.0.1:{ports[0]}",
        "management_address": f"http://127.0.0.1:{ports[1]}",
        "metrics_address": f"http://127.0.0.1:{ports[2]}",
        "grpc_inference_port": str(ports[3]),
        "grpc_management_port": str(ports[4]),
        **changed,
    }
    kept = [
        line
        for line in ROOT_CONFIG.read_text(encoding="utf-8").splitlines()
        if line.partition("=")[0] not in values
    ]
    path = folder / "config.properties"
    path.write_text("\n".join([*kept, *(f"{key}={value}" for key, value in values.items())]) + "\n")
    return path


@contextmanager
def running(
    model_store: Path, config: Path, state: Path, *, models: str = "all", allow_deploy: bool = False
) -> Iterator[Server]:
    """Run a server for the block; it is gone afterwards, whatever happened."""
    try:
        yield start(model_store, models=models, config=config, state=state, allow_deploy=allow_deploy)
    finally:
        stop_if_running(state)


def stop_if_running(state: Path) -> None:
    """Stop the server of a state folder at once; nothing happens when none runs."""
    with suppress(ServerNotRunningError):
        # Asked politely, TorchServe takes seconds, in which it waits for requests that nobody sends any more.
        stop(state, timeout=0)


def processes_of(state: Path) -> list[psutil.Process]:
    """Find the server of a state folder and its workers by that folder in their command or TMPDIR."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.status() == psutil.STATUS_ZOMBIE:
                continue
            if any(str(state) in part for part in [*process.cmdline(), process.environ().get("TMPDIR", "")]):
                found.append(process)
    return found
