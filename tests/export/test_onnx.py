import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tests.export.towers import SIDES, embed, inputs_of, side_of
from torchtowers.export import onnx as onnx_module
from torchtowers.export.errors import ExportError
from torchtowers.export.onnx import OPSET, export_onnx
from torchtowers.handlers.encoders import Encoder, TokenEncoder, TokenListEncoder
from torchtowers.handlers.runtime import Tower, load_tower
from torchtowers.handlers.vocabulary import Vocabulary
from torchtowers.models.experiment import Trained
from torchtowers.models.two_tower import build_tower


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
    holders: list[Any] = [model, model.graph, *model.graph.node, *model.graph.value_info]
    for holder in holders:
        assert not holder.metadata_props
        assert not holder.doc_string


def build(names: list[str]) -> tuple[nn.Module, dict[str, Encoder]]:
    """Make a tower of features with the given names; every second one is a list."""
    vocabulary = Vocabulary(["a", "b", "c"])
    encoders: dict[str, Encoder] = {
        name: TokenListEncoder(vocabulary, 4) if position % 2 else TokenEncoder(vocabulary)
        for position, name in enumerate(names)
    }
    return build_tower(encoders, key=names[0], embedding_dim=3, hidden=[4], dim=2).eval(), encoders


def test_features_may_have_any_name_also_that_of_a_value_inside(artifact: Path, tmp_path: Path) -> None:
    usual = onnx.load(artifact / "query.onnx").graph
    assert {"embedding", "linear"} <= {name for node in usual.node for name in node.output}
    names = ["embedding", "my-genres", "linear", "größe"]

    tower, encoders = build(names)
    export_onnx(tower, encoders, tmp_path / "tower.onnx")
    assert [value.name for value in onnx.load(tmp_path / "tower.onnx").graph.input] == names
    inputs = inputs_of(encoders, 5, 3)
    exported = load_tower("onnx", tmp_path / "tower.onnx")
    np.testing.assert_allclose(exported(inputs), embed(tower, inputs), rtol=0, atol=1e-5)


def test_feature_with_the_outputs_name_is_refused(tmp_path: Path) -> None:
    tower, encoders = build(["embeddings"])
    with pytest.raises(ExportError, match="a feature can't be called embeddings in ONNX"):
        export_onnx(tower, encoders, tmp_path / "tower.onnx")


def test_tower_in_training_mode_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"eval\(\)"):
        export_onnx(torch.nn.Dropout(0.5).train(), {}, tmp_path / "tower.onnx")


def test_large_weights_are_beside_the_file(trained: Trained, tmp_path: Path) -> None:
    tower, table = side_of(trained, "query")
    for name, largest in (("one.onnx", 1 << 30), ("query.onnx", 0)):
        export_onnx(tower, table.encoders, tmp_path / name, largest=largest)
    sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert sizes.keys() == {"one.onnx", "query.onnx", "query.onnx.data"}
    assert sizes["one.onnx"] > sizes["query.onnx"]
    inputs = inputs_of(dict(table.encoders), 7, 3)
    towers = [load_tower("onnx", tmp_path / name) for name in ("one.onnx", "query.onnx")]
    np.testing.assert_array_equal(towers[0](inputs), towers[1](inputs))
    # Where it lies does not matter.
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for name in ("query.onnx", "query.onnx.data"):
        (tmp_path / name).rename(moved / name)
    np.testing.assert_array_equal(load_tower("onnx", moved / "query.onnx")(inputs), towers[0](inputs))


def test_what_is_too_large_without_its_weights_is_refused(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tower, table = side_of(trained, "query")
    monkeypatch.setattr(onnx_module, "_MOST", 1000)
    with pytest.raises(ExportError, match=r"tower\.onnx would be [\d,]+ bytes without its weights"):
        export_onnx(tower, table.encoders, tmp_path / "tower.onnx", largest=0)


def test_missing_library_is_named_with_the_way_to_install_it(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    tower, table = side_of(trained, "query")
    with pytest.raises(ExportError, match=r"onnxscript.*pip install 'torchtowers\[onnx\]'"):
        export_onnx(tower, table.encoders, tmp_path / "tower.onnx")
