"""A tower behind one call, whatever executes it. Only the chosen runtime's library is imported."""

import json
import warnings
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from torchtowers.handlers.device_rows import OnnxRows, TorchRows
from torchtowers.handlers.errors import ArtifactError, RuntimeUnavailableError
from torchtowers.handlers.execution import ON_CPU, Execution
from torchtowers.handlers.vectors import Vectors

__all__ = ["INPUTS", "Tower", "load_onnx", "load_torchscript", "load_tower", "rows_on_device"]

Inputs = Mapping[str, NDArray[Any]]

# Of a pt2 package, the entry of its metadata that names the inputs in their order, as JSON.
INPUTS = "torchtowers.inputs"

_CUDA = "CUDAExecutionProvider"


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
        execution: Where it computes.

    Raises:
        RuntimeUnavailableError: torch can't be imported, or has no CUDA for the device.
        ArtifactError: The file can't be loaded, or torch does not compute in the precision on the device.
    """

    name = "torchscript"

    def __init__(self, path: Path, execution: Execution = ON_CPU) -> None:
        self._torch, self._module = load_torchscript(path, execution)
        self._device = self._torch.device(execution.device)
        self._computing = _computing(self._torch, execution)

    def __call__(self, inputs: Inputs) -> NDArray[np.float32]:
        """Embed a batch."""
        torch = self._torch
        with torch.inference_mode(), self._computing():
            tensors = {name: self._sent(torch.from_numpy(array)) for name, array in inputs.items()}
            embeddings: NDArray[np.float32] = self._module(tensors).float().cpu().numpy()
        return embeddings

    def _sent(self, tensor: Any) -> Any:
        if self._device.type == "cpu":
            return tensor
        # From pinned memory the device copies while the next input is made ready.
        return tensor.pin_memory().to(self._device, non_blocking=True)


class OnnxTower:
    """A tower in ONNX, run by ONNX Runtime.

    Args:
        path: The `.onnx` file.
        execution: Where it computes.

    Raises:
        RuntimeUnavailableError: onnxruntime can't be imported, or has no CUDA provider for the device.
        ArtifactError: The file can't be loaded, or half precision is asked for.
    """

    name = "onnx"

    def __init__(self, path: Path, execution: Execution = ON_CPU) -> None:
        execution.refuse_half("an ONNX file")
        self._session = load_onnx(path, execution)
        self._is_bound = execution.gpu_id is not None
        self._output: str = self._session.get_outputs()[0].name

    def __call__(self, inputs: Inputs) -> NDArray[np.float32]:
        """Embed a batch."""
        embeddings: NDArray[np.float32]
        if not self._is_bound:
            embeddings = self._session.run([self._output], dict(inputs))[0]
            return embeddings
        binding = self._session.io_binding()
        for name, array in inputs.items():
            binding.bind_cpu_input(name, np.ascontiguousarray(array))
        binding.bind_output(self._output, "cpu")
        self._session.run_with_iobinding(binding)
        embeddings = binding.get_outputs()[0].numpy()
        return embeddings


class Pt2Tower:
    """A tower that AOTInductor compiled to machine code, for the kind of processor that compiled it.

    Args:
        path: The `.pt2` package.
        execution: Where it computes: not on a GPU, and in float32.

    Raises:
        RuntimeUnavailableError: torch can't be imported, or the worker is given a GPU.
        ArtifactError: The file can't be loaded, or half precision is asked for.
    """

    name = "pt2"

    def __init__(self, path: Path, execution: Execution = ON_CPU) -> None:
        execution.refuse_half("a pt2 package")
        torch = self._torch = _torch(self.name, execution.threads)
        if execution.gpu_id is not None:
            raise RuntimeUnavailableError(
                f"the worker was given GPU {execution.gpu_id}, but a pt2 package is compiled for the CPU: "
                "set deviceType: cpu, or build the archive with --runtime torchscript"
            )
        try:
            # Not torch.export.pt2_archive's, whose wrapper needs sympy and more to be imported.
            self._package = torch._C._aoti.AOTIModelPackageLoader(str(path), "model", False, 1, -1)
            names = self._package.get_metadata()[INPUTS]
        except (RuntimeError, KeyError) as error:
            raise ArtifactError(
                f"{path.name} can't be loaded as an AOTInductor package: {_last_line(error)}; it runs only "
                "with the torch version and on the kind of processor that it was exported with"
            ) from error
        self._names: list[str] = json.loads(names)

    def __call__(self, inputs: Inputs) -> NDArray[np.float32]:
        """Embed a batch."""
        torch = self._torch
        with torch.inference_mode():
            tensors = [torch.from_numpy(np.ascontiguousarray(inputs[name])) for name in self._names]
            embeddings: NDArray[np.float32] = self._package.run(tensors)[0].numpy()
        return embeddings


_TOWERS = {tower.name: tower for tower in (TorchScriptTower, OnnxTower, Pt2Tower)}


def load_tower(runtime: str, path: Path, execution: Execution = ON_CPU) -> Tower:
    """Load a tower for one of the runtimes `torchscript`, `onnx` and `pt2`.

    Raises:
        ArtifactError: The runtime is unknown or can't compute in the precision, or the file can't be loaded.
        RuntimeUnavailableError: Its library is not installed.
    """
    if runtime not in _TOWERS:
        raise ArtifactError(f"unknown runtime {runtime!r}; this version knows {', '.join(_TOWERS)}")
    return _TOWERS[runtime](path, execution)


def load_torchscript(path: Path, execution: Execution = ON_CPU) -> tuple[Any, Any]:
    """Load what `torch.jit.save` wrote; gives torch, and the module in evaluation mode.

    Args:
        path: The `.pt` file.
        execution: Where it computes.

    Raises:
        RuntimeUnavailableError: torch can't be imported, or has no CUDA for the device.
        ArtifactError: The file can't be loaded.
    """
    torch = _torch("torchscript", execution.threads)
    if execution.gpu_id is not None and not torch.cuda.is_available():
        raise RuntimeUnavailableError(
            f"the worker was given GPU {execution.gpu_id}, but torch has no CUDA here: "
            "install torch for CUDA, or set deviceType: cpu"
        )
    try:
        return torch, torch.jit.load(str(path), map_location=execution.device).eval()
    except (RuntimeError, ValueError) as error:
        raise ArtifactError(f"{path.name} can't be loaded as TorchScript: {_last_line(error)}") from error


def load_onnx(path: Path, execution: Execution = ON_CPU) -> Any:
    """Load an ONNX file; gives ONNX Runtime's session.

    Args:
        path: The `.onnx` file.
        execution: Where it computes.

    Raises:
        RuntimeUnavailableError: onnxruntime can't be imported, or has no CUDA provider for the device.
        ArtifactError: The file can't be loaded.
    """
    ort = _import("onnxruntime", "onnxruntime (or onnxruntime-gpu)", "onnx")
    options = ort.SessionOptions()
    if execution.threads is not None:
        options.intra_op_num_threads = execution.threads
    providers = _providers(ort, execution)
    try:
        session = ort.InferenceSession(str(path), options, providers=providers)
    except Exception as error:  # onnxruntime raises classes of its own that share no public base
        raise ArtifactError(f"{path.name} can't be loaded as ONNX: {_last_line(error)}") from error
    if execution.gpu_id is not None and session.get_providers()[0] != _CUDA:
        # onnxruntime goes on without a provider whose libraries it can't load, and only logs that.
        raise RuntimeUnavailableError(
            f"the worker was given GPU {execution.gpu_id}, but onnxruntime could not use CUDA and took "
            f"{', '.join(session.get_providers())}: install the CUDA and cuDNN that it was built for (its "
            "log names the missing library), or set deviceType: cpu"
        )
    return session


def rows_on_device(runtime: str, vectors: Vectors, execution: Execution) -> OnnxRows | TorchRows:
    """Put an index's rows on the GPU that the tower is on, by the library that runs the tower.

    Args:
        runtime: The tower's.
        vectors: The rows.
        execution: The CUDA device, and the precision.

    Raises:
        RuntimeUnavailableError: The library can't be imported or has no CUDA.
        ArtifactError: A row is beyond the precision.
    """
    if runtime == OnnxTower.name:
        ort = _import("onnxruntime", "onnxruntime-gpu", runtime)
        return OnnxRows(ort, vectors, _providers(ort, execution), "cuda", execution.gpu_id or 0)
    return TorchRows(_import("torch", "torch", runtime), vectors, execution.device, execution.precision)


def _providers(ort: Any, execution: Execution) -> list[Any]:
    if execution.gpu_id is None:
        return ["CPUExecutionProvider"]
    if _CUDA not in ort.get_available_providers():
        raise RuntimeUnavailableError(
            f"the worker was given GPU {execution.gpu_id}, but onnxruntime has no CUDA provider here: "
            "install onnxruntime-gpu in onnxruntime's place, or set deviceType: cpu"
        )
    return [(_CUDA, {"device_id": execution.gpu_id})]


def _computing(torch: Any, execution: Execution) -> Callable[[], AbstractContextManager[None]]:
    """Give the context that a module computes in.

    Half precision is torch's autocast and not a cast of the module: ids stay integers, numbers and times keep
    their digits, and weights are float32 until they are multiplied.

    Source: https://docs.pytorch.org/docs/stable/amp.html#autocast-op-reference

    Raises:
        ArtifactError: torch can't compute in the precision on the device.
    """
    if not execution.is_half:
        return nullcontext
    dtype = getattr(torch, execution.precision)
    context = partial(torch.autocast, torch.device(execution.device).type, dtype=dtype)
    try:
        with warnings.catch_warnings(), torch.inference_mode():
            # Where it does not know the type, autocast warns, and computes in float32.
            warnings.simplefilter("ignore")
            one = torch.ones(1, 1, device=execution.device)
            with context():
                is_used = (one @ one).dtype == dtype
    except RuntimeError as error:
        raise _not_computed(execution, f" ({_last_line(error)})") from error
    if not is_used:
        raise _not_computed(execution)
    return context


def _not_computed(execution: Execution, why: str = "") -> ArtifactError:
    return ArtifactError(
        f"torchtowers.precision is {execution.precision}, in which torch does not compute on "
        f"{execution.device} here{why}: choose another, or leave precision out"
    )


def _torch(runtime: str, threads: int | None) -> Any:
    torch = _import("torch", "torch", runtime)
    if threads is not None:
        torch.set_num_threads(threads)
    return torch


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
