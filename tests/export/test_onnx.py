import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.export.towers import SIDES, embed, inputs_of, side_of
from torchtowers.export.errors import ExportError
from torchtowers.export.onnx import OPSET, export_onnx
from torchtowers.handlers.runtime import Tower, load_tower
from torchtowers.models.experiment import Trained


@pytest.fixture(scope="module")
def towers(artifact: Path) -> dict[str, Tower]:
    return {side: load_tower("onnx", artifact / f"{side}.onnx") for side in SIDES}


@settings(deadline=None, max_examples=40)
@given(side=st.sampled_from(SIDES), batch=st.integers(1, 70), length=st.integers(1, 50))
def test_onnx_tower_equals_the_eager_one_at_any_batch_and_length(
    trained: Trained, towers: dict[str, Tower], side: str, batch: int, length: int
) -> None:
    tower, table = side_of(trained, side)
    inputs = inputs_of(dict(table.encoders), batch, length)
    np.testing.assert_allclose(towers[side](inputs), embed(tower, inputs), rtol=0, atol=1e-5)


@pytest.mark.parametrize("side", SIDES)
def test_inputs_are_the_features_with_a_dynamic_batch(trained: Trained, artifact: Path, side: str) -> None:
    _, table = side_of(trained, side)
    graph = onnx.load(artifact / f"{side}.onnx").graph
    assert [value.name for value in graph.input] == list(table.encoders)
    assert [value.name for value in graph.output] == ["embeddings"]
    for value in (*graph.input, *graph.output):
        dimensions = value.type.tensor_type.shape.dim
        assert dimensions[0].dim_param, f"{value.name} has a fixed batch"
    for value, encoder in zip(graph.input, table.encoders.values(), strict=True):
        dimensions = value.type.tensor_type.shape.dim
        assert value.type.tensor_type.elem_type == onnx.TensorProto.INT64
        assert len(dimensions) == 1 + encoder.is_list
        assert all(dimension.dim_param for dimension in dimensions)


@pytest.mark.parametrize("side", SIDES)
def test_one_file_of_standard_operators_without_notes_on_the_source(artifact: Path, side: str) -> None:
    model = onnx.load(artifact / f"{side}.onnx", load_external_data=False)
    onnx.checker.check_model(model, full_check=True)
    assert [(imported.domain, imported.version) for imported in model.opset_import] == [("", OPSET)]
    assert not model.functions
    assert not [tensor.name for tensor in model.graph.initializer if tensor.external_data]
    for holder in (model, model.graph, *model.graph.node, *model.graph.value_info):
        assert not holder.metadata_props
        assert not holder.doc_string


def test_tower_in_training_mode_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"eval\(\)"):
        export_onnx(torch.nn.Dropout(0.5).train(), {}, tmp_path / "tower.onnx")


def test_tower_too_large_for_one_file_is_refused_before_any_work(tmp_path: Path) -> None:
    huge = torch.nn.Embedding(2**25, 16, device="meta").eval()
    with pytest.raises(ExportError, match=r"2,147,483,648 bytes .*--format torchscript"):
        export_onnx(huge, {}, tmp_path / "tower.onnx")
    assert not list(tmp_path.iterdir())


def test_missing_library_is_named_with_the_way_to_install_it(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    tower, table = side_of(trained, "query")
    with pytest.raises(ExportError, match=r"onnxscript.*pip install 'torchtowers\[onnx\]'"):
        export_onnx(tower, table.encoders, tmp_path / "tower.onnx")
