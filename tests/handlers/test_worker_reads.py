"""Our reader beside TorchServe's own, on the same bytes."""

import json
import os
import socket
import struct
import subprocess
import sys
import threading
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torchtowers.handlers.worker_reads import retrieve_inference_message

ts = pytest.importorskip("ts.protocol.otf_message_handler")

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
    got, left = sent(content + b"next", retrieve_inference_message, pieces)
    assert left == b"next"
    assert len(got) == len(expected)
    for mine, its in zip(got, expected, strict=True):
        assert mine["requestId"] == its["requestId"]
        assert mine["headers"] == its["headers"]
        for one, other in zip(mine["parameters"], its["parameters"], strict=True):
            assert one.keys() == other.keys()
            assert type(one["value"]) is type(other["value"])
            assert repr(one) == repr(other)  # NaN differs from itself


def test_large_batches_come_in_many_parts() -> None:
    body = json.dumps({"exclude": ["x" * 50] * 20_000}).encode()
    content = encode([(b"1", [], [("body", "application/json", body)])] * 8)
    assert len(content) > 8_000_000
    got, left = sent(content, retrieve_inference_message, pieces=50)
    assert left == b""
    assert [len(request["parameters"][0]["value"]["exclude"]) for request in got] == [20_000] * 8


def test_undecoded_bodies_stay_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TS_DECODE_INPUT_REQUEST", "false")
    content = encode([(b"1", [], [("body", "application/json", b"{}")])])
    (request,), _ = sent(content, retrieve_inference_message)
    assert request["parameters"][0]["value"] == bytearray(b"{}")


def test_a_closed_connection_ends_the_worker_as_in_torchserve() -> None:
    with pytest.raises(SystemExit) as ended:
        sent(b"", retrieve_inference_message)
    assert ended.value.code == 0
    with pytest.raises(SystemExit):
        sent(encode([(b"1", [], [])])[:-2], retrieve_inference_message)


@pytest.mark.parametrize("length", [-2, -1])
def test_a_message_of_another_form_is_a_fault(length: int) -> None:
    content = struct.pack("!i", 1) + b"1" + struct.pack("!i", 1) + b"h" + struct.pack("!i", length)
    with pytest.raises(ValueError, match="TorchServe's message"):
        sent(content, retrieve_inference_message)


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        ("loaded = []", "False"),
        ("import ts.protocol.otf_message_handler as own; loaded = [own]", "True True"),
        (
            "import ts, ts.protocol.otf_message_handler as own; loaded = [own]; ts.__version__ = '0.13.0'",
            "False False",
        ),
    ],
)
def test_only_the_reader_of_the_known_version_is_replaced(before: str, expected: str) -> None:
    code = f"""
{before}
from torchtowers.handlers import worker_reads
done = worker_reads.read_batches_at_once()
print(done, *(used._retrieve_inference_msg is worker_reads.retrieve_inference_message for used in loaded))
"""
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    assert answer.stdout.strip() == expected
