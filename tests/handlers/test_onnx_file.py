"""Places of weights read from an ONNX file's bytes, compared with onnx's own reading of them."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.handlers.small import examples
from torchtowers.handlers import onnx_file
from torchtowers.handlers.errors import ArtifactError
from torchtowers.handlers.onnx_file import check_side_files, external_locations

FLOAT = onnx.TensorProto.FLOAT


def tensor(location: str | None) -> Any:
    """Make a tensor that is somewhere else, or here."""
    made = onnx.TensorProto(name="w", data_type=FLOAT, dims=[1])
    if location is None:
        made.raw_data = b"location"
    else:
        made.data_location = onnx.TensorProto.EXTERNAL
        made.external_data.add(key="offset", value="location")
        made.external_data.add(key="location", value=location)
    return made


def graph(*locations: str | None, nodes: Any = ()) -> Any:
    """Make a graph with these tensors."""
    made = onnx.GraphProto(name="location", node=nodes)
    made.initializer.extend(map(tensor, locations))
    return made


def test_weights_are_found_wherever_a_tensor_can_be() -> None:
    attribute = onnx.AttributeProto
    sparse = onnx.SparseTensorProto(values=tensor("g"), indices=tensor("h"))
    node = onnx.NodeProto(
        op_type="If",
        attribute=[
            attribute(name="t", t=tensor("b"), ints=[1, 2], floats=[0.5], strings=[b"location"]),
            attribute(name="ts", tensors=[tensor("c"), tensor(None)]),
            attribute(name="g", g=graph("d", nodes=[onnx.NodeProto(attribute=[attribute(t=tensor("e"))])])),
            attribute(name="gs", graphs=[graph("f")], sparse_tensor=sparse, sparse_tensors=[sparse]),
        ],
    )
    model = onnx.ModelProto(ir_version=10, producer_name="location", graph=graph("a", None, nodes=[node]))
    model.graph.sparse_initializer.append(onnx.SparseTensorProto(values=tensor("i")))
    model.functions.append(onnx.FunctionProto(node=[onnx.NodeProto(attribute=[attribute(t=tensor("j"))])]))
    model.functions[0].attribute_proto.append(attribute(t=tensor("k")))
    training = model.training_info.add()
    training.initialization.CopyFrom(graph("l"))
    training.algorithm.CopyFrom(graph("m"))
    assert external_locations(model.SerializeToString(), "m.onnx") == set("abcdefghijklm")
    # Where it is in no other file, all of that is passed over.
    assert external_locations(onnx.ModelProto(graph=graph(None)).SerializeToString(), "m.onnx") == set()


def test_the_numbers_of_fields_are_onnx_own() -> None:
    for message, fields in onnx_file._PATHS.items():
        descriptor = getattr(onnx, message).DESCRIPTOR
        own = {
            field.number: field.message_type.name
            for field in descriptor.fields
            if field.message_type is not None and field.message_type.name in onnx_file._PATHS
        }
        # Notes of quantisation and of metadata, whose values are texts of another meaning.
        notes = {
            number
            for number, inner in own.items()
            if inner == "StringStringEntryProto" and message != "TensorProto"
        }
        if message == "TensorProto":
            notes = {field.number for field in descriptor.fields if field.name == "metadata_props"}
        assert {number: inner for number, inner in own.items() if number not in notes} == fields


def test_weights_beside_the_file_that_are_listed_are_fine(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("m.onnx", "sub/m.onnx"):
        (tmp_path / name).write_bytes(onnx.ModelProto(graph=graph("m.onnx.data")).SerializeToString())
    check_side_files(tmp_path, "m.onnx", {"m.onnx.data": ""})
    check_side_files(tmp_path, "sub/m.onnx", {"sub/m.onnx.data": ""})
    with pytest.raises(ArtifactError, match=r"sub/m\.onnx reads weights from m\.onnx\.data, which"):
        check_side_files(tmp_path, "sub/m.onnx", {"m.onnx.data": ""})


@pytest.mark.parametrize(
    "location",
    ["../w", "/etc/passwd", "sub/w", "..", ".", "", "..\\w", "w\0", "other", "*/_ORT_MEM_ADDR_/*"],
)
def test_weights_from_elsewhere_are_refused(tmp_path: Path, location: str) -> None:
    (tmp_path / "m.onnx").write_bytes(onnx.ModelProto(graph=graph(location)).SerializeToString())
    listed = {"w": "", "sub/w": "", "../w": "", location: ""} if location != "other" else {"w": ""}
    with pytest.raises(ArtifactError, match=r"m\.onnx reads weights from .*which is no file beside it"):
        check_side_files(tmp_path, "m.onnx", listed)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"")
    with pytest.raises(ArtifactError, match=r"m\.onnx is empty"):
        check_side_files(tmp_path, "m.onnx", {})


@examples(200)
@given(content=st.binary(max_size=60), place=st.integers(0, 10**6), byte=st.integers(0, 255))
def test_damage_is_refused_or_read_and_nothing_else(content: bytes, place: int, byte: int) -> None:
    good = bytearray(onnx.ModelProto(graph=graph("w")).SerializeToString())
    good[place % len(good)] = byte
    for damaged in (content + b"location", bytes(good)):
        with suppress(ArtifactError):
            assert all(isinstance(found, str) for found in external_locations(damaged, "m.onnx"))
