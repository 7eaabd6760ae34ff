"""Towers and index on a real CUDA device; what can be told without one is in tests/handlers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from torchtowers.handlers import CandidateRanker, Recommender
from torchtowers.handlers.agreement import agree, tolerance_of
from torchtowers.handlers.device_rows import TorchRows
from torchtowers.handlers.execution import Execution
from torchtowers.handlers.tower_search import TowerSearch


def needs_cuda(test: Any) -> Any:
    """Mark a test of a real device."""
    return pytest.mark.gpu(pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")(test))


@needs_cuda
@pytest.mark.parametrize("runtime", ["torchscript", "onnx"])
def test_answers_are_those_of_the_cpu(artifact: Path, runtime: str) -> None:
    if runtime == "onnx":
        ort = pytest.importorskip("onnxruntime")
        if "CUDAExecutionProvider" not in ort.get_available_providers():
            pytest.skip("onnxruntime has no CUDA provider; install onnxruntime-gpu")
    on_cpu = Recommender.load(artifact, runtime=runtime)
    on_gpu = Recommender.load(artifact, runtime=runtime, execution=Execution(gpu_id=0))
    search = on_gpu.search
    assert isinstance(search, TowerSearch)
    assert search.index.device_rows is not None
    same(on_cpu, on_gpu, 1e-5)


@needs_cuda
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_is_near_the_cpu(artifact: Path, precision: str) -> None:
    if precision == "bfloat16" and not torch.cuda.is_bf16_supported(including_emulation=False):
        pytest.skip("the device has no bfloat16")
    on_gpu = Recommender.load(
        artifact, runtime="torchscript", execution=Execution(gpu_id=0, precision=precision)
    )
    search = on_gpu.search
    assert isinstance(search, TowerSearch)
    assert isinstance(search.index.device_rows, TorchRows)
    assert search.index.device_rows._rows.dtype == getattr(torch, precision)
    same(Recommender.load(artifact), on_gpu, tolerance_of(precision, "retrieval").scores)


@needs_cuda
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_of_a_ranking_model_is_near_the_cpu(ranking_artifact: Path, precision: str) -> None:
    execution = Execution(gpu_id=0, precision=precision)
    on_gpu = CandidateRanker.load(ranking_artifact, runtime="torchscript", execution=execution)
    body = {"user_id": "u3", "candidates": [str(100 + item) for item in range(40)]}
    expected = CandidateRanker.load(ranking_artifact).rank(body)
    assert agree(expected, on_gpu.rank(body), tolerance_of(precision, "ranking"))


def same(on_cpu: Recommender, on_gpu: Recommender, tolerance: float) -> None:
    """Compare the scores of all items."""
    body = {"instances": [{"user_id": f"u{user}", "k": 60} for user in range(5)]}
    for one, other in zip(
        on_cpu.recommend(body)["predictions"], on_gpu.recommend(body)["predictions"], strict=True
    ):
        cpu = dict(zip(one["items"], one["scores"], strict=True))
        gpu = dict(zip(other["items"], other["scores"], strict=True))
        assert cpu.keys() == gpu.keys()
        np.testing.assert_allclose([gpu[item] for item in cpu], list(cpu.values()), atol=tolerance)
