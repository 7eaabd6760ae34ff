import zipfile

from torchtowers.serving.grpc_messages import PREDICTIONS, PredictionResponse, PredictionsRequest
from torchtowers.serving.java import find_torchserve


def test_a_request_is_encoded_as_the_proto_says() -> None:
    request = PredictionsRequest(model_name="m", model_version="2", input={"body": b"{}"})
    # Field 1, 2 and 3, each length-delimited; an entry of the map has its key as 1 and its value as 2.
    assert request.SerializeToString() == b"\x0a\x01m\x12\x012\x1a\x0a\x0a\x04body\x12\x02{}"


def test_fields_that_only_streams_use_are_skipped() -> None:
    assert PredictionResponse.FromString(b"\x0a\x02ok\x12\x03seq").prediction == b"ok"


def test_the_numbers_are_those_of_the_installed_torchserve() -> None:
    with zipfile.ZipFile(find_torchserve() / "ts" / "frontend" / "model-server.jar") as jar:
        proto = " ".join(jar.read("proto/inference.proto").decode().split())
    for declared in (
        "package org.pytorch.serve.grpc.inference;",
        "string model_name = 1;",
        "string model_version = 2;",
        "map<string, bytes> input = 3;",
        "bytes prediction = 1;",
        "rpc Predictions(PredictionsRequest) returns (PredictionResponse)",
    ):
        assert declared in proto
    assert PREDICTIONS == "/org.pytorch.serve.grpc.inference.InferenceAPIsService/Predictions"
