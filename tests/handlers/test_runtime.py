"""Towers of both runtimes, and what is said where one can't run."""

import sys
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from torchtowers.handlers.errors import ArtifactError, RuntimeUnavailableError
from torchtowers.handlers.execution import Execution
from torchtowers.handlers.runtime import load_tower

RUNTIMES = {"onnx": "query.onnx", "torchscript": "query.pt"}
INPUTS = {
    "user_id": np.array([2, 1, 0]),
    "age": np.array([4, 0, 1]),
    "gender": np.array([2, 3, 0]),
    "history": np.array([[2, 3, 4], [5, 0, 0], [0, 0, 0]]),
}


def test_both_runtimes_give_the_same_embeddings(artifact: Path) -> None:
    onnx, torchscript = (load_tower(runtime, artifact / name)(INPUTS) for runtime, name in RUNTIMES.items())
    assert onnx.shape == (3, 9)
    assert onnx.dtype == torchscript.dtype == np.float32
    np.testing.assert_allclose(onnx, torchscript, atol=1e-5)
    assert np.abs(onnx[0] - onnx[1]).max() > 1e-3


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_padding_changes_nothing(artifact: Path, runtime: str) -> None:
    tower = load_tower(runtime, artifact / RUNTIMES[runtime])
    wider = INPUTS | {"history": np.pad(INPUTS["history"], ((0, 0), (0, 6)))}
    np.testing.assert_allclose(tower(wider), tower(INPUTS), atol=1e-5)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_takes_a_number_of_threads(artifact: Path, runtime: str) -> None:
    import torch

    before = torch.get_num_threads()
    try:
        tower = load_tower(runtime, artifact / RUNTIMES[runtime], Execution(threads=1))
        assert torch.get_num_threads() == (1 if runtime == "torchscript" else before)
        assert np.isfinite(tower(INPUTS)).all()
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("content", [b"", b"no model", b"PK\x03\x04"])
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_refuses_a_file_that_is_no_model(tmp_path: Path, runtime: str, content: bytes) -> None:
    path = tmp_path / RUNTIMES[runtime]
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match=f"^{path.name} can't be loaded as ") as caught:
        load_tower(runtime, path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_refuses_a_missing_file(tmp_path: Path, runtime: str) -> None:
    with pytest.raises(ArtifactError, match="can't be loaded as"):
        load_tower(runtime, tmp_path / RUNTIMES[runtime])


def test_refuses_an_unknown_runtime(tmp_path: Path) -> None:
    with pytest.raises(
        ArtifactError, match="unknown runtime 'tensorrt'; this version knows torchscript, onnx, pt2"
    ):
        load_tower("tensorrt", tmp_path / "query.plan")


@pytest.mark.parametrize(("runtime", "module"), [("onnx", "onnxruntime"), ("torchscript", "torch")])
def test_says_which_library_is_missing(
    artifact: Path, monkeypatch: pytest.MonkeyPatch, runtime: str, module: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(
        RuntimeUnavailableError, match=f"built with --runtime {runtime} and needs {module}.*install it"
    ):
        load_tower(runtime, artifact / RUNTIMES[runtime])


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_says_where_a_device_can_not_be_used(
    artifact: Path, monkeypatch: pytest.MonkeyPatch, runtime: str
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(RuntimeUnavailableError, match=r"given GPU 1, but .* set deviceType: cpu"):
        load_tower(runtime, artifact / RUNTIMES[runtime], Execution(gpu_id=1))


# Of embeddings of length 1 with a bias: of the largest value, in epsilons of the precision.
EPSILONS = 2


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_torchscript_computes_in_half_precision_and_gives_float32(artifact: Path, precision: str) -> None:
    full = load_tower("torchscript", artifact / RUNTIMES["torchscript"])(INPUTS)
    tower = load_tower("torchscript", artifact / RUNTIMES["torchscript"], Execution(precision=precision))
    epsilon = torch.finfo(getattr(torch, precision)).eps
    for _ in range(3):  # TorchScript compiles anew after its first calls
        half = tower(INPUTS)
        assert half.dtype == np.float32
        difference = np.abs(half - full).max()
        assert epsilon / 100 < difference <= EPSILONS * epsilon * np.abs(full).max()
    # Of a batch of one as well, and its length is still 1 but for the rounding.
    alone = tower({name: values[:1] for name, values in INPUTS.items()})
    np.testing.assert_allclose(alone, full[:1], rtol=0, atol=EPSILONS * epsilon)
    np.testing.assert_allclose(np.linalg.norm(half, axis=1), np.linalg.norm(full, axis=1), atol=2 * epsilon)
    np.testing.assert_array_equal(load_tower("torchscript", artifact / RUNTIMES["torchscript"])(INPUTS), full)


class Digits(nn.Module):
    """What a cast of a module would spoil: large ids, and numbers with many digits."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(70_001, 4)
        self.layer = nn.Linear(4, 4)

    def forward(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        age = (inputs["seconds"] - 1_700_000_001.0) / 10.0
        return nn.functional.normalize(self.layer(self.table(inputs["id"])) + age.unsqueeze(1), dim=1)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
@pytest.mark.parametrize("is_traced", [False, True])
def test_ids_and_numbers_keep_their_digits(tmp_path: Path, precision: str, is_traced: bool) -> None:
    torch.manual_seed(0)
    module = Digits().eval()
    inputs = {
        "id": np.array([70_000, 257, 3]),
        "seconds": np.array([1_700_000_001.0, 1_700_000_009, 1_699_999_995]),
    }
    tensors = {name: torch.from_numpy(values) for name, values in inputs.items()}
    make: Any = torch.jit.trace if is_traced else torch.jit.script
    scripted = make(module, tensors) if is_traced else make(module)
    torch.jit.save(scripted, tmp_path / "tower.pt")
    tower = load_tower("torchscript", tmp_path / "tower.pt", Execution(precision=precision))
    with torch.inference_mode():
        expected = module(tensors).numpy()
    epsilon = torch.finfo(getattr(torch, precision)).eps
    for _ in range(3):
        found = tower(inputs)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, rtol=0, atol=2 * epsilon)


@pytest.mark.parametrize(("runtime", "what"), [("onnx", "an ONNX file"), ("pt2", "a pt2 package")])
def test_files_of_fixed_types_refuse_half_precision(artifact: Path, runtime: str, what: str) -> None:
    with pytest.raises(
        ArtifactError, match=f"precision is bfloat16, but {what} computes in the types that it was"
    ):
        load_tower(runtime, artifact / RUNTIMES["onnx"], Execution(precision="bfloat16"))


def test_a_precision_that_torch_passes_over_is_refused(
    artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Passed:
        """Older versions warn that they don't know a type, and compute in float32."""

        def __init__(self, device: str, dtype: torch.dtype) -> None:
            warnings.warn(
                "In CPU autocast, but the target dtype is not supported. Disabling autocast.", stacklevel=2
            )

        def __enter__(self) -> None:
            pass

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr("torch.autocast", Passed)
    with pytest.raises(
        ArtifactError, match="precision is float16, in which torch does not compute on cpu here: cho"
    ):
        load_tower("torchscript", artifact / RUNTIMES["torchscript"], Execution(precision="float16"))


def test_a_precision_that_the_device_lacks_is_refused(
    artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lacks(device: str, dtype: torch.dtype) -> None:
        raise RuntimeError("Current CUDA Device does not support bfloat16.\nPlease switch dtype to float16.")

    monkeypatch.setattr("torch.autocast", lacks)
    with pytest.raises(
        ArtifactError, match=r"on cpu here \(Please switch dtype to float16\.\): choose another"
    ):
        load_tower("torchscript", artifact / RUNTIMES["torchscript"], Execution(precision="bfloat16"))


class FakeSession:
    """What onnxruntime makes where it is told to use CUDA; it may have gone on without."""

    def __init__(self, *args: Any, providers: Any) -> None:
        self.given = providers
        self.bound: dict[str, Any] = {}
        type(self).made = self

    made: "FakeSession"
    has_cuda = True

    def get_providers(self) -> list[str]:
        return ["CUDAExecutionProvider", "CPUExecutionProvider"][not self.has_cuda :]

    def get_outputs(self) -> list[Any]:
        return [SimpleNamespace(name="embedding")]

    def io_binding(self) -> Any:
        return SimpleNamespace(
            bind_cpu_input=lambda name, array: self.bound.update({name: array}),
            bind_output=lambda name, device: self.bound.update({name: device}),
            get_outputs=lambda: [SimpleNamespace(numpy=lambda: np.ones((2, 3), np.float32))],
        )

    def run_with_iobinding(self, binding: Any) -> None:
        self.bound["ran"] = True


@pytest.fixture
def fake_cuda(monkeypatch: pytest.MonkeyPatch) -> type[FakeSession]:
    """An onnxruntime that has a CUDA provider."""
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CUDAExecutionProvider"])
    monkeypatch.setattr("onnxruntime.InferenceSession", FakeSession)
    return FakeSession


def test_an_onnx_tower_runs_on_the_gpu_that_it_is_given(artifact: Path, fake_cuda: type[FakeSession]) -> None:
    tower = load_tower("onnx", artifact / RUNTIMES["onnx"], Execution(gpu_id=3))
    assert fake_cuda.made.given == [("CUDAExecutionProvider", {"device_id": 3})]
    ids = np.array([1, 2])
    assert tower({"user_id": ids}).shape == (2, 3)
    assert fake_cuda.made.bound.pop("user_id").tolist() == [1, 2]
    assert fake_cuda.made.bound == {"embedding": "cpu", "ran": True}


def test_an_onnx_tower_never_falls_back_to_the_cpu_in_silence(
    artifact: Path, fake_cuda: type[FakeSession], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fake_cuda, "has_cuda", False)
    with pytest.raises(RuntimeUnavailableError, match="could not use CUDA and took CPUExecutionProvider"):
        load_tower("onnx", artifact / RUNTIMES["onnx"], Execution(gpu_id=3))
