"""Rows on a device: by real libraries on the CPU, and by fakes that record what a GPU would be asked."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from torchtowers.handlers import device_rows
from torchtowers.handlers.device_rows import OnnxRows, TorchRows
from torchtowers.handlers.errors import ArtifactError
from torchtowers.handlers.index import ExactIndex
from torchtowers.handlers.token_table import TokenTable
from torchtowers.handlers.vectors import DTYPES, Vectors, quantized

ROWS = np.random.default_rng(0).standard_normal((300, 8)).astype(np.float32)
QUERIES = np.random.default_rng(1).standard_normal((3, 8)).astype(np.float32)


def near(scores: Any, vectors: Vectors) -> None:
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, QUERIES @ vectors.take(slice(None)).T, rtol=0, atol=1e-5)


@pytest.mark.parametrize("dtype", DTYPES)
def test_onnx_runtime_multiplies_what_it_holds(dtype: str) -> None:
    ort = pytest.importorskip("onnxruntime")
    vectors = quantized(ROWS, dtype)
    rows = OnnxRows(ort, vectors, ["CPUExecutionProvider"], "cpu", 0)
    near(rows.scores(QUERIES), vectors)
    near(rows.scores(QUERIES), vectors)  # a binding is of one call


def test_the_graph_is_valid_onnx() -> None:
    onnx = pytest.importorskip("onnx")
    onnx.checker.check_model(onnx.load_from_string(device_rows._gemm_model()), full_check=True)


class FakeTorch:
    """torch, with the CPU in the place of a GPU, and no pinned memory."""

    float32, bfloat16, float16 = torch.float32, torch.bfloat16, torch.float16
    inference_mode = staticmethod(torch.inference_mode)
    from_numpy = staticmethod(torch.from_numpy)

    def __init__(self) -> None:
        self.devices: list[str] = []
        self.pinned = 0
        self.multiplied: list[torch.dtype] = []

    def empty(self, *args: Any, device: str = "cpu", pin_memory: bool = False, **kwargs: Any) -> Any:
        self.devices.append(device)
        self.pinned += pin_memory
        return torch.empty(*args, **kwargs)

    def mm(self, one: torch.Tensor, other: torch.Tensor, *, out_dtype: torch.dtype) -> torch.Tensor:
        """Multiply halves with float32 sums, as CUDA does and the CPU can't."""
        assert one.dtype == other.dtype != out_dtype
        self.multiplied.append(one.dtype)
        return one.to("cpu", out_dtype) @ other.to("cpu", out_dtype)


@pytest.fixture
def on_cpu(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Give what is sent to a GPU, whose place the CPU takes: the device, and the tensor's shape."""
    monkeypatch.setattr(device_rows, "_ROWS_AT_ONCE", 7)
    sent: list[Any] = []
    to = torch.Tensor.to

    def recorded(tensor: Any, target: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(target, str) and target.startswith("cuda"):
            sent.append((target, tuple(tensor.shape)))
            target = "cpu"
        return to(tensor, target, *args, **kwargs)

    monkeypatch.setattr(torch.Tensor, "to", recorded)
    return sent


@pytest.mark.parametrize("dtype", DTYPES)
def test_torch_multiplies_on_the_device(dtype: str, on_cpu: list[Any]) -> None:
    fake, sent = FakeTorch(), on_cpu
    vectors = quantized(ROWS, dtype)
    rows = TorchRows(fake, vectors, "cuda:1")
    assert fake.devices == ["cuda:1"]
    assert {device for device, _ in sent} == {"cuda:1"}
    sent.clear()
    near(rows.scores(QUERIES), vectors)
    assert sent == [("cuda:1", (3, 8))]  # a search sends the queries alone
    assert fake.pinned == 1


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_torch_holds_and_multiplies_halves_and_sums_in_float32(
    dtype: str, precision: str, on_cpu: list[Any]
) -> None:
    fake, half = FakeTorch(), getattr(torch, precision)
    vectors = quantized(ROWS, dtype)
    rows = TorchRows(fake, vectors, "cuda:1", precision)
    assert rows._rows.dtype == half
    scores = rows.scores(QUERIES)
    assert fake.multiplied == [half]
    assert scores.dtype == np.float32
    # Exactly what rounded rows and queries give, which a sum of halves would round once more.
    rounded = [
        torch.from_numpy(values).to(half).float().numpy() for values in (vectors.take(slice(None)), QUERIES)
    ]
    np.testing.assert_allclose(scores, rounded[1] @ rounded[0].T, rtol=0, atol=1e-5)
    bound = 2 * torch.finfo(half).eps * np.abs(QUERIES) @ np.abs(vectors.take(slice(None))).T
    assert (np.abs(scores - QUERIES @ vectors.take(slice(None)).T) <= bound).all()


def test_rows_beyond_float16_are_refused(on_cpu: list[Any]) -> None:
    large = ROWS.copy()
    large[299, 3] = -70_000
    with pytest.raises(
        ArtifactError, match=r"a value beyond torchtowers\.precision, float16: choose bfloat16"
    ):
        TorchRows(FakeTorch(), Vectors(large), "cuda:0", "float16")
    assert np.isfinite(TorchRows(FakeTorch(), Vectors(large), "cuda:0", "bfloat16").scores(QUERIES)).all()


def test_onnx_runtime_is_given_the_device() -> None:
    asked: dict[str, Any] = {}
    ort = SimpleNamespace(
        InferenceSession=lambda model, providers: asked.update(providers=providers),
        OrtValue=SimpleNamespace(
            ortvalue_from_numpy=lambda array, device, number: asked.update(device=(device, number))
        ),
    )
    providers = [("CUDAExecutionProvider", {"device_id": 2})]
    OnnxRows(ort, Vectors(ROWS), providers, "cuda", 2)
    assert asked == {"providers": providers, "device": ("cuda", 2)}


@pytest.mark.parametrize("rescored", [False, True])
def test_an_index_searches_its_rows_on_the_device(rescored: bool) -> None:
    ort = pytest.importorskip("onnxruntime")
    vectors = quantized(ROWS, "int8") if rescored else Vectors(ROWS)
    index = ExactIndex(vectors, TokenTable.of(map(str, range(300))), rescoring=ROWS if rescored else None)
    nothing = [np.array([5])] * 3
    expected = index.search(QUERIES, [10] * 3, nothing)
    index.device_rows = OnnxRows(ort, index.scored, ["CPUExecutionProvider"], "cpu", 0)
    for (rows, scores), (found, others) in zip(
        expected, index.search(QUERIES, [10] * 3, nothing), strict=True
    ):
        assert rows.tolist() == found.tolist()
        np.testing.assert_allclose(scores, others, rtol=0, atol=1e-5)
