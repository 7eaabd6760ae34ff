"""The messages of gRPC Open Inference, built at run time, and one call, for tests of a real TorchServe.

The numbers are those of `open_inference_grpc.proto` in TorchServe 0.12's `model-server.jar`.
"""

from collections.abc import Mapping
from typing import Any

import grpc
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

_PACKAGE = "org.pytorch.serve.grpc.openinference"
_METHOD = f"/{_PACKAGE}.GRPCInferenceService/ModelInfer"
_CONTENTS = {
    "BOOL": ("bool_contents", 1, FieldDescriptorProto.TYPE_BOOL),
    "INT32": ("int_contents", 2, FieldDescriptorProto.TYPE_INT32),
    "INT64": ("int64_contents", 3, FieldDescriptorProto.TYPE_INT64),
    "FP32": ("fp32_contents", 6, FieldDescriptorProto.TYPE_FLOAT),
    "FP64": ("fp64_contents", 7, FieldDescriptorProto.TYPE_DOUBLE),
    "BYTES": ("bytes_contents", 8, FieldDescriptorProto.TYPE_BYTES),
}
_STRING, _INT64, _MESSAGE = (
    FieldDescriptorProto.TYPE_STRING,
    FieldDescriptorProto.TYPE_INT64,
    FieldDescriptorProto.TYPE_MESSAGE,
)


def _message(name: str, *fields: tuple[str, int, Any, bool, str]) -> DescriptorProto:
    described = DescriptorProto(name=name)
    for field, number, kind, repeated, of in fields:
        described.field.add(
            name=field,
            number=number,
            type=kind,
            label=FieldDescriptorProto.LABEL_REPEATED if repeated else FieldDescriptorProto.LABEL_OPTIONAL,
            type_name=f".{_PACKAGE}.{of}" if of else None,
        )
    return described


def _tensor(name: str) -> DescriptorProto:
    return _message(
        name,
        ("name", 1, _STRING, False, ""),
        ("datatype", 2, _STRING, False, ""),
        ("shape", 3, _INT64, True, ""),
        ("contents", 5, _MESSAGE, False, "InferTensorContents"),
    )


_pool = DescriptorPool()
_pool.AddSerializedFile(
    FileDescriptorProto(
        name="tests/open_inference.proto",
        package=_PACKAGE,
        syntax="proto3",
        message_type=[
            _message("InferTensorContents", *((n, i, kind, True, "") for n, i, kind in _CONTENTS.values())),
            _tensor("InferInputTensor"),
            _tensor("InferOutputTensor"),
            _message(
                "ModelInferRequest",
                ("model_name", 1, _STRING, False, ""),
                ("model_version", 2, _STRING, False, ""),
                ("id", 3, _STRING, False, ""),
                ("inputs", 5, _MESSAGE, True, "InferInputTensor"),
            ),
            _message(
                "ModelInferResponse",
                ("model_name", 1, _STRING, False, ""),
                ("model_version", 2, _STRING, False, ""),
                ("id", 3, _STRING, False, ""),
                ("outputs", 5, _MESSAGE, True, "InferOutputTensor"),
            ),
        ],
    ).SerializeToString()
)
_Request = GetMessageClass(_pool.FindMessageTypeByName(f"{_PACKAGE}.ModelInferRequest"))
_Response = GetMessageClass(_pool.FindMessageTypeByName(f"{_PACKAGE}.ModelInferResponse"))


def message_of(body: Mapping[str, Any], model: str) -> bytes:
    """Give the message of what a REST body of Open Inference says.

    Raises:
        LookupError: Something is missing, or of no known datatype.
        TypeError, ValueError: A value is not of its datatype.
    """
    request: Any = _Request(model_name=model, id=body.get("id", ""))
    for tensor in body["inputs"]:
        sent = request.inputs.add(name=tensor["name"], datatype=tensor["datatype"], shape=tensor["shape"])
        data = [value.encode() if isinstance(value, str) else value for value in tensor["data"]]
        getattr(sent.contents, _CONTENTS[tensor["datatype"]][0]).extend(data)
    return bytes(request.SerializeToString())


def model_infer(channel: grpc.Channel, body: Mapping[str, Any], model: str, token: str | None) -> Any:
    """Send what a REST body of Open Inference says over gRPC, and give the answer in REST's form."""
    return send_message(channel, message_of(body, model), token)


def send_message(channel: grpc.Channel, message: bytes, token: str | None) -> Any:
    """Send a message of `message_of`, and give the answer in REST's form."""
    call = channel.unary_unary(_METHOD, request_serializer=bytes, response_deserializer=_Response.FromString)
    metadata = (("authorization", f"Bearer {token}"),) if token else ()
    answer = call(message, timeout=30, metadata=metadata)
    outputs = []
    for output in answer.outputs:
        data = list(getattr(output.contents, _CONTENTS[output.datatype][0]))
        data = [value.decode() if isinstance(value, bytes) else value for value in data]
        outputs.append(
            {"name": output.name, "datatype": output.datatype, "shape": list(output.shape), "data": data}
        )
    return {
        "model_name": answer.model_name,
        "model_version": answer.model_version,
        "id": answer.id,
        "outputs": outputs,
    }
