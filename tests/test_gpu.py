"""Towers and index on a real CUDA device; what can be told without one is in tests/handlers."""

from pathlib import Path

import numpy as np
import pytest
import torch

from torchtowers.handlers import Recommender
from torchtowers.handlers.execution import Execution
from torchtowers.handlers.tower_search import TowerSearch


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
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
    body = {"instances": [{"user_id": f"u{user}", "k": 60} for user in range(5)]}
    for one, other in zip(
        on_cpu.recommend(body)["predictions"], on_gpu.recommend(body)["predictions"], strict=True
    ):
        cpu = dict(zip(one["items"], one["scores"], strict=True))
        gpu = dict(zip(other["items"], other["scores"], strict=True))
        assert cpu.keys() == gpu.keys()
        np.testing.assert_allclose([gpu[item] for item in cpu], list(cpu.values()), atol=1e-5)
