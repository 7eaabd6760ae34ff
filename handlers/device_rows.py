"""An index's rows on the worker's GPU: queries go there, and scores come back."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchtowers.handlers.errors import ArtifactError
from torchtowers.handlers.vectors import Vectors

__all__ = ["OnnxRows", "TorchRows"]

_ROWS_AT_ONCE = 1 << 16
_FLOAT = 1


class TorchRows:
    """Rows as a tensor on a device.

    Args:
        torch: The library.
        vectors: The rows.
        device: Such as `cuda:1`.
        precision: What they are there, and queries with them: `float32`, `bfloat16` or `float16`. The
            products' sums are float32, so that rounding makes no ties of them.

    Raises:
        ArtifactError: A value is beyond the precision.
    """

    def __init__(self, torch: Any, vectors: Vectors, device: str, precision: str = "float32") -> None:
        self._torch = torch
        self._device = device
        self._dtype = getattr(torch, precision)
        self._rows = torch.empty((len(vectors), vectors.dimension), dtype=self._dtype, device=device)
        for first in range(0, len(vectors), _ROWS_AT_ONCE):
            rows = slice(first, first + _ROWS_AT_ONCE)
            self._rows[rows] = torch.from_numpy(vectors.take(rows)).to(device)
            if not bool(self._rows[rows].isfinite().all()):
                raise ArtifactError(
                    f"the index holds a value beyond torchtowers.precision, {precision}: choose bfloat16, or "
                    "leave precision out"
                )

    def scores(self, queries: NDArray[np.float32]) -> NDArray[np.float32]:
        """Give the products of queries `[batch, dim]` with all rows, float32 `[batch, count]`."""
        torch = self._torch
        with torch.inference_mode():
            sent = torch.from_numpy(queries.copy()).to(self._device)
            if self._dtype == torch.float32:
                scores = sent @ self._rows.T
            else:
                scores = torch.mm(sent.to(self._dtype), self._rows.T, out_dtype=torch.float32)
            # Pinned, so that the device writes it at the bus's speed; torch keeps such memory for next time.
            kept = torch.empty(scores.shape, dtype=scores.dtype, pin_memory=True)
            found: NDArray[np.float32] = kept.copy_(scores).numpy()
        return found


class OnnxRows:
    """Rows in ONNX Runtime's memory of a device, so that a worker of ONNX files needs no torch.

    Args:
        ort: The library.
        vectors: The rows; there, they are float32.
        providers: Of the session.
        device: `cuda` or `cpu`.
        device_id: Which one.
    """

    def __init__(self, ort: Any, vectors: Vectors, providers: Any, device: str, device_id: int) -> None:
        self._session = ort.InferenceSession(_gemm_model(), providers=providers)
        whole = vectors.take(slice(0, len(vectors)))
        self._rows = ort.OrtValue.ortvalue_from_numpy(whole, device, device_id)

    def scores(self, queries: NDArray[np.float32]) -> NDArray[np.float32]:
        """Give the products of queries `[batch, dim]` with all rows, float32 `[batch, count]`."""
        binding = self._session.io_binding()
        binding.bind_cpu_input("queries", np.ascontiguousarray(queries))
        binding.bind_ortvalue_input("rows", self._rows)
        binding.bind_output("scores", "cpu")
        self._session.run_with_iobinding(binding)
        scores: NDArray[np.float32] = binding.get_outputs()[0].numpy()
        return scores


def _gemm_model() -> bytes:
    """Write the ONNX model of `scores = queries @ rows.T`; a worker has no onnx to make it with.

    Source: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto, and protobuf's wire format.
    """
    transposed = _text(1, "transB") + _number(3, 1) + _number(20, 2)
    node = (
        _text(1, "queries") + _text(1, "rows") + _text(2, "scores") + _text(4, "Gemm") + _part(5, transposed)
    )
    shapes = {"queries": ("batch", "dim"), "rows": ("count", "dim"), "scores": ("batch", "count")}
    values = {name: _value(name, shape) for name, shape in shapes.items()}
    inputs = _part(11, values["queries"]) + _part(11, values["rows"])
    graph = _part(1, node) + _text(2, "search") + inputs + _part(12, values["scores"])
    return _number(1, 8) + _part(7, graph) + _part(8, _number(2, 13))


def _value(name: str, shape: tuple[str, str]) -> bytes:
    dimensions = b"".join(_part(1, _text(2, size)) for size in shape)
    return _text(1, name) + _part(2, _part(1, _number(1, _FLOAT) + _part(2, dimensions)))


def _part(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _text(field: int, text: str) -> bytes:
    return _part(field, text.encode())


def _number(field: int, number: int) -> bytes:
    return _varint(field << 3) + _varint(number)


def _varint(number: int) -> bytes:
    content = b""
    while number > 127:
        content += bytes([number & 127 | 128])
        number >>= 7
    return content + bytes([number])
