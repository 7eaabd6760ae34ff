"""A tower behind one call, whatever executes it. Only the chosen runtime's library is imported."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from torchtowers.handlers.errors import ArtifactError, RuntimeUnavailableError

__all__ = ["Tower", "load_tower"]

Inputs = Mapping[str, NDArray[Any]]


class Tower(Protocol):
    """Encoded features in, embeddings out."""

    def __call__(self, inputs: Inputs) -> NDArray[np.float32]:
        """Embed a batch.

        Args:
            inputs: By the tensor's name, int64 `[batch]` or `[batch, length]`, or float32.

        Returns:
            float32 `[batch, dim]`.
        """


class TorchScriptTower:
    """A tower saved by `torch.jit.save`.

    Args:
        path: The `.pt` file.
        gpu_id: The CUDA device to run on; None for the CPU.
        threads: Threads of one operation on the CPU.

    Raises:
        RuntimeUnavailableError: torch can't be imported, or has no CUDA for the device.
        ArtifactError: The file can't be loaded.
    """

    name = "torchscript"

    def __init__(self, path: Path, *, gpu_id: int | None = None, threads: int | None = None) -> None:
        torch = _import("torch", "torch", self.name)
        self._torch = torch
        if gpu_id is not None and not torch.cuda.is_available():
            raise RuntimeUnavailableError(
                f"the worker was given GPU {gpu_id}, but torch has no CUDA here: "
                "install torch for CUDA, or set deviceType: cpu"
            )
        self._device = torch.device("cpu" if gpu_id is None else f"cuda:{gpu_id}")
        if threads is not None:
            torch.set_num_threads(threads)
        try:
            self._module = torch.jit.load(str(path), map_location=self._device).eval()
        except (RuntimeError, ValueError) as error:
            raise ArtifactError(f"{path.name} can't be loaded as TorchScript: {_last_line(error)}") from error

    def __call__(self, inputs: Inputs) -> NDArray[np.float32]:
        """Embed a batch."""
        torch = self._torch
        with torch.inference_mode():
            tensors = {name: torch.from_numpy(array).to(self._device) for name, array in inputs.items()}
            embeddings: NDArray[np.float32] = self._module(tensors).cpu().numpy()
        return embeddings


class OnnxTower:
    """A tower in ONNX, run by ONNX Runtime.

    Args:
        path: The `.onnx` file.
        gpu_id: The CUDA device to run on; None for the CPU.
        threads: Threads of one operation on the CPU.

    Raises:
        RuntimeUnavailableError: onnxruntime can't be imported, or has no CUDA provider for the device.
        ArtifactError: The file can't be loaded.
    """

    name = "onnx"

    def __init__(self, path: Path, *, gpu_id: int | None = None, threads: int | None = None) -> None:
        ort = _import("onnxruntime", "onnxruntime (or onnxruntime-gpu)", self.name)
        options = ort.SessionOptions()
        if threads is not None:
            options.intra_op_num_threads = threads
        providers: list[Any] = ["CPUExecutionProvider"]
        if gpu_id is not None:
            if "CUDAExecutionProvider" not in ort.get_available_providers():
                raise RuntimeUnavailableError(
                    f"the worker was given GPU {gpu_id}, but onnxruntime has no CUDA provider here: "
                    "install onnxruntime-gpu in onnxruntime's place, or set deviceType: cpu"
                )
            providers = [("CUDAExecutionProvider", {"device_id": gpu_id})]
        try:
            self._session = ort.InferenceSession(str(path), options, providers=providers)
        except Exception as error:  # onnxruntime raises classes of its own that share no public base
            raise ArtifactError(f"{path.name} can't be loaded as ONNX: {_last_line(error)}") from error

    def __call__(self, inputs: Inputs) -> NDArray[np.float32]:
        """Embed a batch."""
        embeddings: NDArray[np.float32] = self._session.run(None, dict(inputs))[0]
        return embeddings


_TOWERS = {tower.name: tower for tower in (TorchScriptTower, OnnxTower)}


def load_tower(runtime: str, path: Path, *, gpu_id: int | None = None, threads: int | None = None) -> Tower:
    """Load a tower for one of the runtimes `torchscript` and `onnx`.

    Raises:
        ArtifactError: The runtime is unknown, or the file can't be loaded.
        RuntimeUnavailableError: Its library is not installed.
    """
    if runtime not in _TOWERS:
        raise ArtifactError(f"unknown runtime {runtime!r}; this version knows {', '.join(_TOWERS)}")
    return _TOWERS[runtime](path, gpu_id=gpu_id, threads=threads)


def _import(module: str, package: str, runtime: str) -> Any:
    # TorchServe reports a failed import in a handler as "No module named 'ts.torch_handler.…'",
    # so what is missing is said here, in our own error, when it is needed.
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise RuntimeUnavailableError(
            f"this archive was built with --runtime {runtime} and needs {package}, which can't be imported "
            f"here ({error}); install it for the worker, or build the archive with the other runtime"
        ) from error


def _last_line(error: Exception) -> str:
    return str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
