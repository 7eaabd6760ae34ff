"""An unpacked archive in a process of its own, loaded and asked as a TorchServe worker does.

    python -I benchmarks/handled.py FOLDER

Only the archive's own code is imported, and TorchServe is not needed.
"""

import importlib
import json
import sys
import time
from pathlib import Path
from typing import Any


class Context:
    """What the handler asks of a worker's context."""

    def __init__(self, folder: Path, config: Any) -> None:
        self.system_properties = {"model_dir": str(folder), "gpu_id": None}
        self.model_yaml_config = config
        self.status = 200

    def get_all_request_header(self, position: int) -> dict[str, Any]:
        """Give none."""
        return {}

    def set_response_content_type(self, position: int, value: str) -> None:
        """Take a header that is not looked at."""

    def set_response_status(self, code: int, phrase: str, idx: int) -> None:
        """Keep the only request's status."""
        self.status = code


def main(folder: Path) -> None:
    """Answer each line of JSON with `{"status", "answer", "seconds"}`."""
    # What an editable installation adds comes before sys.path.
    sys.meta_path[:] = [finder for finder in sys.meta_path if "Editable" not in repr(finder)]
    sys.path.insert(0, str(folder))
    model = json.loads((folder / "MAR-INF/MANIFEST.json").read_text())["model"]
    module = importlib.import_module(model["handler"].removesuffix(".py"))
    (made,) = (kind for kind in vars(module).values() if getattr(kind, "__module__", "") == module.__name__)
    handler, context = made(), Context(folder, {"torchtowers": {"threads": 1}})
    handler.initialize(context)
    print(json.dumps({"ready": model["modelName"]}), flush=True)
    for line in sys.stdin:
        context.status = 200
        begin = time.perf_counter()
        (answer,) = handler.handle([{"body": line}], context)
        seconds = time.perf_counter() - begin
        answered = {"status": context.status, "answer": json.loads(answer), "seconds": seconds}
        print(json.dumps(answered), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
