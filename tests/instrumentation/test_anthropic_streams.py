"""Streams of the anthropic client: events, the helper ``.stream()``, raw ones; left, broken and forgotten ones."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import anthropic
import pytest
from anthropic_server import GIVEN, SEARCHED, TOOLS, Server, answered, events, http, message, refused, streamed, text, tool_use
from hypothesis import given, settings
from hypothesis import strategies as st
from spans_of import failure_of, inference, inference_span, spans

from llmtrace.instrumentation._anthropic_messages import EventReader, read_message
from llmtrace.model import Inference, ServerToolCall, ToolCall, Usage, replace
from llmtrace.testing import Captured

INSTRUMENT = ("anthropic",)

EVERYTHING = message(*SEARCHED, stop="tool_use")


# -- the ways to read a stream that only this client has; the others are in `contract`


def create(client: Any) -> None:
    list(client.messages.create(stream=True, **GIVEN))


def helper_text(client: Any) -> None:
    with client.messages.stream(**GIVEN) as stream:
        assert "".join(stream.text_stream) == "Let me look.Sent."


def helper_final(client: Any) -> None:
    with client.beta.messages.stream(**GIVEN) as stream:
        assert stream.get_final_message().stop_reason == "tool_use"


async def ahelper_text(client: Any) -> None:
    async with client.beta.messages.stream(**GIVEN) as stream:
        assert "".join([piece async for piece in stream.text_stream]) == "Let me look.Sent."


@pytest.mark.parametrize("way", [create, helper_text, helper_final, ahelper_text], ids=lambda way: way.__name__)
def test_streamed_is_whole(captured: Captured, way: Any) -> None:
    """Every kind of block, whichever way a stream is read: as a whole answer would have left it, timing and chunks apart."""
    server = Server(answered(*SEARCHED, stop="tool_use"), streamed(events(EVERYTHING)))
    server.client().messages.create(**GIVEN)
    asyncio.run(way(server.aclient())) if way is ahelper_text else way(server.client())
    whole, operation = (span.operation for span in spans(captured))
    assert isinstance(whole, Inference)
    assert isinstance(operation, Inference)
    assert operation.chunks == len(events(EVERYTHING)) - 1  # a ping is none
    assert operation.time_to_first_chunk is not None
    assert replace(operation, stream=False, chunks=None, time_to_first_chunk=None) == whole


def _reader(stream_events: list[dict[str, Any]]) -> EventReader:
    reader = EventReader()
    for event in stream_events:
        reader.add(event)
    return reader


_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**6), 10**6) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
_texts = st.text(min_size=1, max_size=12)
_blocks = st.one_of(
    _texts.map(text),
    st.tuples(_texts, _texts).map(lambda both: {"type": "thinking", "thinking": both[0], "signature": both[1]}),
    st.dictionaries(st.text(max_size=4), _json, max_size=3).map(tool_use),
    st.just({"type": "redacted_thinking", "data": "x"}),
    st.just({"type": "of_tomorrow", "what": [1]}),
    _texts.map(lambda name: {"type": "server_tool_use", "id": "s", "name": name, "input": {"q": name}}),
)


@given(st.lists(_blocks, max_size=5), st.integers(1, 9))
@settings(max_examples=60, deadline=None)
def test_any_message_is_read_alike_from_its_stream(blocks: list[dict[str, Any]], size: int) -> None:
    """For any blocks, in pieces of any size: the message of the stream is the message."""
    whole = {**message(), "content": blocks}
    fields = _reader(events(whole, size=size)).fields()
    assert fields["output"] == (read_message(whole, "end_turn"),)
    assert fields["usage"] == Usage(20, 7, 8, 3)


# -- tool calls in deltas


@pytest.mark.parametrize(
    ("raw", "arguments"),
    [
        ('{"order_id": "7"', '{"order_id": "7"'),
        ('{"order_id": "7", "order_id": "8"}', '{"order_id": "7", "order_id": "8"}'),
        ('["7"]', '["7"]'),
        ("{}", {}),
        ("", {}),
        ('{"a": "\\ud83d\\ude00"}', {"a": "😀"}),
    ],
)
def test_raw_text_of_arguments_is_kept(captured: Captured, raw: str, arguments: Any) -> None:
    """What is no JSON object stays as the model wrote it; no text at all is a call without arguments."""
    stream_events = events(message(tool_use(raw), stop="tool_use"), size=5)
    list(Server(streamed(stream_events)).client().messages.create(stream=True, tools=TOOLS, **GIVEN))
    assert inference(captured).output[0].tool_calls() == (ToolCall("look_up", arguments, "toolu_1"),)


def test_blocks_may_come_mixed(captured: Captured) -> None:
    """Deltas are put to their block by index, whatever the order in which they come."""
    stream_events = events(message(tool_use({"order_id": "7"}), tool_use({"order_id": "8"}, id="toolu_2"), stop="tool_use"))
    starts = [event for event in stream_events if event["type"] == "content_block_start"]
    deltas = [
        [event for event in stream_events if event["type"] == "content_block_delta" and event["index"] == i] for i in (0, 1)
    ]
    mixed = [event for pair in zip(*deltas, strict=True) for event in pair]
    list(
        Server(streamed([stream_events[0], *starts, *mixed, *stream_events[-2:]]))
        .client()
        .messages.create(stream=True, **GIVEN)
    )
    assert [call.arguments for call in inference(captured).output[0].tool_calls()] == [{"order_id": "7"}, {"order_id": "8"}]


def test_odd_events_are_taken(captured: Captured) -> None:
    """Events and deltas of kinds that are not known here cost nothing of the rest."""
    stream_events = events()
    odd = [
        {"type": "content_block_delta", "index": 9, "delta": {"type": "text_delta", "text": "?"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "of_tomorrow", "text": "?"}},
        {"type": "of_tomorrow", "index": 0},
    ]
    list(Server(streamed([*stream_events[:4], *odd, *stream_events[4:]])).client().messages.create(stream=True, **GIVEN))
    assert inference(captured).output[0].text() == "On its way."


def test_counts_of_the_end_replace_those_of_the_start(captured: Captured) -> None:
    """Tools that run on the server add to the input; what is told last is what is billed."""
    stream_events = events()
    stream_events[-2]["usage"] = {"input_tokens": 100, "output_tokens": 50, "cache_read_input_tokens": 30}
    list(Server(streamed(stream_events)).client().messages.create(stream=True, **GIVEN))
    assert inference(captured).usage == Usage(133, 50, 30, 3)


# -- streams that end early


def _left_helper(client: Any) -> None:
    with client.messages.stream(**GIVEN) as stream:
        assert next(iter(stream.text_stream)) == "On "


def _raised_over(client: Any) -> None:
    with pytest.raises(KeyError), client.messages.stream(**GIVEN) as stream:
        for kind in (event.type for event in stream):
            if kind == "text":
                raise KeyError(kind)


@pytest.mark.parametrize("way", [_left_helper, _raised_over], ids=lambda way: way.__name__)
def test_a_stream_that_is_left_is_partial(captured: Captured, way: Any) -> None:
    """A helper left, or raised over: the text so far, no error, no output tokens that nobody told."""
    way(Server(streamed()).client())
    (span,) = spans(captured)
    operation = span.operation
    assert isinstance(operation, Inference)
    assert (span.failure, operation.partial, operation.finish_reasons) == (None, True, ())
    assert operation.output[0].text() == "On "
    assert operation.usage == Usage(20, None, 8, 3)


def test_a_stream_left_after_its_stop_reason_is_whole(captured: Captured) -> None:
    """What comes after it tells nothing more."""
    stream = Server(streamed()).client().messages.create(stream=True, **GIVEN)
    while next(stream).type != "message_delta":
        pass
    stream.close()
    operation = inference(captured)
    assert (operation.partial, operation.finish_reasons, operation.output[0].text()) == (False, ("stop",), "On its way.")


@pytest.mark.parametrize(
    ("kind", "word"), [("overloaded_error", "overloaded"), ("rate_limit_error", "rate_limit"), ("api_error", "server_error")]
)
@pytest.mark.parametrize("raw", [False, True])
def test_an_error_in_the_middle_of_a_stream(captured: Captured, kind: str, word: str, raw: bool) -> None:
    """By its own word, though the HTTP status was 200; also where the program reads the lines by itself."""
    broken = [*events()[:4], {"type": "error", "error": {"type": kind, "message": "no"}}]
    client = Server(streamed(broken)).client()
    if raw:
        with client.messages.with_streaming_response.create(stream=True, **GIVEN) as response:
            assert json.loads(list(response.iter_lines())[-2][5:])["type"] == "error"
    else:
        with pytest.raises(anthropic.APIStatusError):
            list(client.messages.create(stream=True, **GIVEN))
    span, operation = inference_span(captured)
    assert (failure_of(span).type, operation.output[0].text()) == (word, "On ")


def test_a_helper_that_is_never_entered_records_nothing(captured: Captured) -> None:
    """`.stream()` makes no request: there is no call yet, and so no span."""
    server = Server(streamed())
    server.client().messages.stream(**GIVEN)
    assert (spans(captured), server.requests) == ((), [])


def test_the_helpers_span_begins_when_it_is_entered(captured: Captured) -> None:
    """Its time, its attempts and its ``traceparent`` are the request's."""
    server = Server(refused(503), streamed())
    manager = server.client(max_retries=1).messages.stream(**GIVEN)
    assert captured.traces == ()
    with manager as stream:
        (open_span,) = captured.trace.spans
        stream.until_done()
    assert inference(captured).attempts == 2
    sent = {request.headers["traceparent"] for request in server.requests}
    assert sent == {f"00-{open_span.trace_id}-{open_span.span_id}-01"}


def test_bedrocks_event_stream(captured: Captured) -> None:
    """Bedrock's own framing is decoded by the SDK; what is read of it is the same."""
    eventstream = pytest.importorskip("botocore.eventstream")
    assert eventstream is not None
    body = b"".join(_framed(event) for event in events(EVERYTHING) if event["type"] != "ping")
    reply = http.Response(200, headers={"content-type": "application/vnd.amazon.eventstream"}, content=body)
    server = Server(reply)
    keys = {"aws_access_key": "a", "aws_secret_key": "b", "aws_region": "us-east-1"}
    with server.client(anthropic.AnthropicBedrock, **keys).messages.stream(**GIVEN) as stream:
        stream.until_done()
    operation = inference(captured)
    assert operation.provider == "aws.bedrock"
    assert operation.output == (read_message(EVERYTHING, "tool_use"),)
    assert any(isinstance(part, ServerToolCall) for part in operation.output[0].parts)


def _framed(event: dict[str, Any]) -> bytes:
    """One message of AWS's event stream: lengths, headers, payload, each with its checksum."""
    import base64
    import binascii
    import struct

    payload = json.dumps({"bytes": base64.b64encode(json.dumps(event).encode()).decode()}).encode()
    headers = b""
    for name, value in ((":event-type", "chunk"), (":content-type", "application/json"), (":message-type", "event")):
        headers += bytes([len(name)]) + name.encode() + b"\x07" + struct.pack(">H", len(value)) + value.encode()
    prelude = struct.pack(">II", len(payload) + len(headers) + 16, len(headers))
    framed = prelude + struct.pack(">I", binascii.crc32(prelude)) + headers + payload
    return framed + struct.pack(">I", binascii.crc32(framed))
