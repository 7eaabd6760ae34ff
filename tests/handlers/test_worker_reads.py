"""Our reader beside TorchServe's own, on the same bytes."""

import json
import socket
import struct
import threading
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torchtowers.handlers import worker_reads
from torchtowers.handlers.worker_reads import retrieve_inference_message

ts = pytest.importorskip("ts.protocol.otf_message_handler")
service = pytest.importorskip("ts.service")

Part = tuple[str, str, bytes]
Message = tuple[bytes, list[tuple[str, str]], list[Part]]

TEXT = st.text(max_size=12)
CONTENT_TYPES = st.sampled_from(["application/json", "text/plain", "application/octet-stream", ""])
BODIES = st.one_of(
    st.binary(max_size=40),
    st.sampled_from(
        [b"{", b'{"user_id": "196", "k": 10}', b"NaN", "é".encode(), b"[" * 100_000, b"9" * 5000]
    ),
)
MESSAGES = st.lists(
    st.tuples(
        st.binary(min_size=1, max_size=36),
        st.lists(st.tuples(TEXT, TEXT), max_size=3),
        st.lists(st.tuples(TEXT, CONTENT_TYPES, BODIES), max_size=3),
    ),
    max_size=5,
)


def encode(messages: list[Message]) -> bytes:
    end = struct.pack("!i", -1)

    def part(content: bytes) -> bytes:
        return struct.pack("!i", len(content)) + content

    encoded = b""
    for identifier, headers, parameters in messages:
        encoded += part(identifier)
        for header, value in headers:
            encoded += part(header.encode()) + part(value.encode())
        encoded += end
        for name, content_type, body in parameters:
            encoded += part(name.encode()) + part(content_type.encode()) + part(body)
        encoded += end
    return encoded + end


def sent(content: bytes, read: Any, pieces: int = 1) -> tuple[Any, bytes]:
    """Give what is read of the content, and what of it is left."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        step = max(1, -(-len(content) // pieces))

        def send() -> None:
            with suppress(OSError):  # the reader may be gone by a fault that the test expects
                for begin in range(0, len(content), step):
                    theirs.sendall(content[begin : begin + step])
                theirs.shutdown(socket.SHUT_WR)

        sender = threading.Thread(target=send)
        sender.start()
        got = read(ours)
        sender.join()
        left = b""
        while piece := ours.recv(1 << 16):
            left += piece
    return got, left


@given(MESSAGES, st.integers(1, 7))
def test_requests_are_those_of_torchserve(messages: list[Message], pieces: int) -> None:
    content = encode(messages)
    expected, _ = sent(content, ts._retrieve_inference_msg)
    processors, items, _ = service.Service.retrieve_data_for_inference(
        [{**request, "requestId": b"1"} for request in expected]
    )
    got, left = sent(content + b"next", retrieve_inference_message, pieces)
    assert left == b"next"
    assert [request.identifier for request in got] == [request["requestId"] for request in expected]
    assert [request.headers for request in got] == [each.get_request_properties() for each in processors]
    for mine, its in zip(got, items, strict=True):
        assert {name: type(value) for name, value in mine.item.items()} == {
            name: type(value) for name, value in its.items()
        }
        assert repr(mine.item) == repr(its)  # NaN differs from itself


@given(st.text(max_size=20) | st.sampled_from(['{"a": 1}', ' {"a": 1}', '{"a": 1} ', "[1] 2", "\ufeff{}"]))
def test_bodies_are_those_of_the_json_module(text: str) -> None:
    content = encode([(b"1", [], [("body", "application/json", text.encode())])])
    (request,), _ = sent(content, retrieve_inference_message)
    try:
        expected = json.loads(text)
    except ValueError:
        expected = bytearray(text.encode())
    assert repr(request.item["body"]) == repr(expected)


def test_headers_are_kept_for_requests_like_them_and_few_of_them() -> None:
    def read(number: int) -> Any:
        message = (b"1", [("x-request", str(number))], [("body", "application/json", b"{}")])
        (request,), _ = sent(encode([message]), retrieve_inference_message)
        return request.headers

    assert read(0) == {"body": {"content-type": "application/json"}, "x-request": "0"}
    assert read(0) is read(0)
    for number in range(2 * worker_reads._MOST):
        assert read(number)["x-request"] == str(number)
    assert len(worker_reads._known) <= worker_reads._MOST


@pytest.mark.parametrize("long", ["header", "name"])
def test_long_headers_are_not_kept(long: str) -> None:
    name = "n" * (2000 if long == "name" else 2)
    message = (b"1", [("x", "y" * (2000 if long == "header" else 2))], [(name, "application/json", b"{}")])
    before = len(worker_reads._known)
    (request,), _ = sent(encode([message]), retrieve_inference_message)
    assert name in request.headers
    assert len(worker_reads._known) == before


def test_large_batches_come_in_many_parts() -> None:
    body = json.dumps({"exclude": ["x" * 50] * 20_000}).encode()
    content = encode([(b"1", [], [("body", "application/json", body)])] * 8)
    assert len(content) > 8_000_000
    got, left = sent(content, retrieve_inference_message, pieces=50)
    assert left == b""
    assert [len(request.item["body"]["exclude"]) for request in got] == [20_000] * 8


def test_undecoded_bodies_stay_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TS_DECODE_INPUT_REQUEST", "false")
    content = encode([(b"1", [], [("body", "application/json", b"{}")])])
    (request,), _ = sent(content, retrieve_inference_message)
    assert request.item["body"] == bytearray(b"{}")


def test_a_closed_connection_ends_the_worker_as_in_torchserve() -> None:
    with pytest.raises(SystemExit) as ended:
        sent(b"", retrieve_inference_message)
    assert ended.value.code == 0
    with pytest.raises(SystemExit):
        sent(encode([(b"1", [], [])])[:-2], retrieve_inference_message)


@pytest.mark.parametrize("length", [-2, -1])
def test_a_message_of_another_form_is_a_fault(length: int) -> None:
    content = struct.pack("!i", 1) + b"1" + struct.pack("!i", 1) + b"h" + struct.pack("!iii", length, -1, -1)
    with pytest.raises(ValueError, match="TorchServe's message"):
        sent(content, retrieve_inference_message)
