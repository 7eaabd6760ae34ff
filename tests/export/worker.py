"""Stands in for a TorchServe worker: run with `python -I`, it loads an unpacked archive and answers a batch.

    worker.py FOLDER HIDDEN REQUESTS

It takes off the path what an editable installation of the toolkit adds, hides the module HIDDEN from all that
is imported after TorchServe itself, and prints one JSON object of what came of it.
"""

import json
import os
import site
import struct
import sys
from importlib.util import find_spec


def leave_out_the_toolkit() -> None:
    """Undo what the `.pth` file of an editable installation did."""
    sys.meta_path[:] = [finder for finder in sys.meta_path if "Editable" not in repr(finder)]
    sys.path_hooks[:] = [hook for hook in sys.path_hooks if "Editable" not in repr(hook)]
    sys.path[:] = [entry for entry in sys.path if "__editable__" not in entry]
    sys.path_importer_cache.clear()
    assert find_spec("torchtowers") is None, "the toolkit is still there"


def read_response(message: bytes) -> dict[str, object]:
    """Read what a worker sends to the server: a code, a message, and each request's answer."""
    position = 0

    def number() -> int:
        nonlocal position
        position += 4
        value: int = struct.unpack_from("!i", message, position - 4)[0]
        return value

    def text() -> str:
        nonlocal position
        length = number()
        position += length
        return message[position - length : position].decode()

    response: dict[str, object] = {"code": number(), "message": text()}
    answers = []
    while message[position : position + 4] != struct.pack("!i", -1):
        answer = {"id": text(), "type": text(), "status": number(), "phrase": text()}
        headers = {text(): text() for _ in range(number())}
        answers.append({**answer, "headers": headers, "body": text()})
    return {**response, "answers": answers}


def main(folder: str, hidden: str, requests: str) -> None:
    """Load and answer as the worker of TorchServe does: its own folder first, then the archive's."""
    leave_out_the_toolkit()
    (ts_folder,) = [path for place in site.getsitepackages() if os.path.isdir(path := f"{place}/ts")]  # noqa: PTH112
    sys.path[:] = [ts_folder, folder, *sys.path]
    os.chdir(folder)

    from ts.metrics.metric_cache_yaml_impl import MetricsCacheYamlImpl
    from ts.model_loader import TsModelLoader

    before = set(sys.modules)
    if hidden:
        sys.modules[hidden] = None  # type: ignore[assignment]
    metrics = MetricsCacheYamlImpl(config_file_path=f"{ts_folder}/configs/metrics.yaml")
    metrics.initialize_cache()
    with open("MAR-INF/MANIFEST.json") as file:  # noqa: PTH123
        model = json.load(file)["model"]
    service = TsModelLoader().load(
        model["modelName"], folder, model["handler"], None, 8, None, True, metrics_cache=metrics
    )
    service.set_cl_socket(None)
    batch = [
        {
            "requestId": str(position).encode(),
            # Over REST there is always one; a request without any is a call of Open Inference's gRPC.
            "headers": [{"name": b"Host", "value": b"127.0.0.1:8080"}],
            "parameters": [{"name": "body", "contentType": "application/json", "value": value}],
        }
        for position, value in enumerate(json.loads(requests))
    ]
    response = read_response(bytes(service.predict(batch)))
    places = {
        name: getattr(module, "__file__", None)
        for name, module in sys.modules.items()
        if name.split(".")[0] == "torchtowers" or name == "retrieval_handler"
    }
    models = {name: find_spec(f"torchtowers.{name}") is not None for name in ("models", "export", "data")}
    new = [name for name, module in sys.modules.items() if name not in before and module is not None]
    print(json.dumps({"response": response, "ours": places, "new": new, "found": models}))


if __name__ == "__main__":
    main(*sys.argv[1:])
