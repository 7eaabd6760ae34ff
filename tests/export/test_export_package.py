import subprocess
import sys

import pytest

import torchtowers.export
from torchtowers.export.artifact import export_artifact
from torchtowers.export.comparison import Comparison


def test_public_names_are_sorted_and_there() -> None:
    assert torchtowers.export.__all__ == sorted(torchtowers.export.__all__)
    for name in torchtowers.export.__all__:
        assert getattr(torchtowers.export, name).__name__ == name
    assert torchtowers.export.export_artifact is export_artifact
    assert torchtowers.export.Comparison is Comparison


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'export_tower'"):
        getattr(torchtowers.export, "export_tower")  # noqa: B009


def test_packaging_imports_no_torch_and_no_model_code() -> None:
    code = "import sys, torchtowers.export.archive, torchtowers.cli.archive; print(*sys.modules)"
    loaded = subprocess.check_output([sys.executable, "-c", code], text=True).split()
    assert "torchtowers.export.archive" in loaded
    heavy = {"torch", "polars", "onnx", "onnxruntime", "torchtowers.models", "torchtowers.data"}
    assert not heavy & set(loaded)
