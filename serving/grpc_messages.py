"""The messages of TorchServe's gRPC inference service, built at run time: no code generation.

The numbers are those of `inference.proto` in TorchServe 0.12's `model-server.jar`.
"""

from typing import Any

from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

__all__ = ["PREDICTIONS", "PredictionResponse", "PredictionsRequest"]

_PACKAGE = "org.pytorch.serve.grpc.inference"

PREDICTIONS = f"/{_PACKAGE}.InferenceAPIsService/Predictions"
"""The method that answers one request."""


def _field(name: str, number: int, kind: "FieldDescriptorProto.Type.ValueType") -> FieldDescriptorProto:
    return FieldDescriptorProto(
        name=name, number=number, type=kind, label=FieldDescriptorProto.LABEL_OPTIONAL
    )


def _file() -> FileDescriptorProto:
    """Describe the two messages; fields that only streams use are left out, and protobuf skips them."""
    string, data = FieldDescriptorProto.TYPE_STRING, FieldDescriptorProto.TYPE_BYTES
    entry = DescriptorProto(name="InputEntry", field=[_field("key", 1, string), _field("value", 2, data)])
    entry.options.map_entry = True
    request = DescriptorProto(
        name="PredictionsRequest",
        field=[
            _field("model_name", 1, string),
            _field("model_version", 2, string),
            FieldDescriptorProto(
                name="input",
                number=3,
                type=FieldDescriptorProto.TYPE_MESSAGE,
                type_name=f".{_PACKAGE}.PredictionsRequest.InputEntry",
                label=FieldDescriptorProto.LABEL_REPEATED,
            ),
        ],
        nested_type=[entry],
    )
    response = DescriptorProto(name="PredictionResponse", field=[_field("prediction", 1, data)])
    return FileDescriptorProto(
        name="torchtowers/inference.proto",
        package=_PACKAGE,
        syntax="proto3",
        message_type=[request, response],
    )


def _message(pool: DescriptorPool, name: str) -> Any:
    return GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}"))


# A pool of its own: in the common one another library may have put the same names.
_pool = DescriptorPool()
_pool.AddSerializedFile(_file().SerializeToString())

PredictionsRequest = _message(_pool, "PredictionsRequest")
"""What is asked: `model_name`, `model_version` (empty for the default one) and `input`, names to bytes."""

PredictionResponse = _message(_pool, "PredictionResponse")
"""What is answered: `prediction`, bytes."""
