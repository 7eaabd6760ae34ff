"""Our writer beside TorchServe's own."""

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torchtowers.handlers.worker_writes import predict_response

ts = pytest.importorskip("ts.protocol.otf_message_handler")
contexts = pytest.importorskip("ts.context")

TEXT = st.text(max_size=8)
ANSWERS = st.lists(
    st.tuples(
        TEXT,
        st.binary(max_size=30),
        st.dictionaries(st.sampled_from(["content-type", "x-a", "é"]), TEXT),
        st.sampled_from([(200, None), (200, ""), (400, "Bad Request"), (None, None), (503, "é")]),
    ),
    max_size=6,
)


def refuse(*_: Any) -> Any:
    raise AssertionError("TorchServe's own was called")


def context_of(answers: Any) -> Any:
    context = contexts.Context("m", "", None, 1, None, "0.12.0")
    context.request_processor = [contexts.RequestProcessor({}) for _ in answers]
    for position, (_, _, headers, (code, phrase)) in enumerate(answers):
        context.set_response_status(code, phrase, position)
        for name, value in headers.items():
            context.set_response_header(position, name, value)
    return context


@given(ANSWERS, st.booleans())
def test_messages_are_those_of_torchserve(answers: Any, same_ids: bool) -> None:
    # TorchServe counts an ill phrase's characters, and a content type's, where it sends their bytes.
    answers = [
        (
            name,
            body,
            {key: value for key, value in headers.items() if value.isascii() and key.isascii()},
            status,
        )
        for name, body, headers, status in answers
        if (status[1] or "").isascii()
    ]
    identifiers = {place: "1" if same_ids else name for place, (name, *_) in enumerate(answers)}
    bodies = [body for _, body, *_ in answers]
    context = context_of(answers)
    expected = ts.create_predict_response(bodies, identifiers, "Prediction success", 200, context=context)
    got = predict_response(refuse)(bodies, identifiers, "Prediction success", 200, context=context)
    assert got == bytes(expected)


@pytest.mark.parametrize(
    ("answers", "code", "context", "streams"),
    [
        (None, 503, None, False),
        (["text"], 200, {}, False),
        ([b"1"], 200, {}, True),
        ([b"1"], 200, {"ts_stream_next": "true"}, False),
        ([b"1"], 200, "stops", False),
    ],
)
def test_other_messages_are_left_to_torchserve(answers: Any, code: int, context: Any, streams: bool) -> None:
    if context == "stops":
        context = SimpleNamespace(stopping_criteria=[lambda _: True])
    elif context is not None:
        context = context_of([("1", b"", context, (200, None))])
    calls: list[Any] = []

    def own(*given: Any) -> bytes:
        calls.append(given)
        return b"theirs"

    writer = predict_response(own)
    assert writer(answers, {0: "1"}, "message", code, context, streams) == b"theirs"
    assert calls == [(answers, {0: "1"}, "message", code, context, streams)]
