"""Rows on a device: by real libraries on the CPU, and by fakes that record what a GPU would be asked."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from torchtowers.handlers import device_rows
from torchtowers.handlers.device_rows import OnnxRows, TorchRows
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

    float32 = torch.float32
    inference_mode = staticmethod(torch.inference_mode)
    from_numpy = staticmethod(torch.from_numpy)

    def __init__(self) -> None:
        self.devices: list[str] = []
        self.pinned = 0

    def empty(self, *args: Any, device: str = "cpu", pin_memory: bool = False, **kwargs: Any) -> Any:
        self.devices.append(device)
        self.pinned += pin_memory
        return torch.empty(*args, **kwargs)


@pytest.mark.parametrize("dtype", DTYPES)
def test_torch_multiplies_on_the_device(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_rows, "_ROWS_AT_ONCE", 7)
    fake, sent, to = FakeTorch(), [], torch.Tensor.to

    def recorded(tensor: Any, device: Any, *args: Any, **kwargs: Any) -> Any:
        sent.append((device, tuple(tensor.shape)))
        return to(tensor, "cpu", *args, **kwargs)

    monkeypatch.setattr(torch.Tensor, "to", recorded)
    vectors = quantized(ROWS, dtype)
    rows = TorchRows(fake, vectors, "cuda:1")
    assert fake.devices == ["cuda:1"]
    assert {device for device, _ in sent} == {"cuda:1"}
    sent.clear()
    near(rows.scores(QUERIES), vectors)
    assert sent == [("cuda:1", (3, 8))]  # a search sends the queries alone
    assert fake.pinned == 1


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
