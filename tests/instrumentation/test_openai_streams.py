"""Streams: recorded as whole answers are, and ended once, whichever way the program leaves them."""

from __future__ import annotations

from typing import Any

import openai
import pytest
import wrapt
from openai_server import (
    ASK,
    MODEL,
    SPOKEN,
    USAGE,
    Server,
    chunk,
    completion,
    http,
    streamed,
    text_chunks,
    whole,
)
from spans_of import failure_of, inference, spans

from llmtrace import instrumentation
from llmtrace.instrumentation._openai_chat import Chat
from llmtrace.instrumentation._provider import traced
from llmtrace.model import Blob, Generic, Inference, Message, Reasoning, Text, ToolCall, Usage
from llmtrace.testing import Captured


def ask(client: openai.OpenAI, **kwargs: Any) -> Any:
    return client.chat.completions.create(**{"model": MODEL, "messages": ASK, "stream": True, **kwargs})


def output(captured: Captured, *chunks: dict[str, Any]) -> tuple[Message, ...]:
    for _ in ask(Server(streamed(chunks)).client()):
        pass
    return inference(captured).output


# -- what is recorded


def test_a_chunk_with_text_and_a_call_loses_neither(captured: Captured) -> None:
    """Some servers send both in one chunk."""
    call = {"index": 0, "id": "c", "type": "function", "function": {"name": "look_up", "arguments": "{}"}}
    (message,) = output(
        captured,
        chunk({"role": "assistant", "content": "One "}),
        chunk({"content": "moment.", "tool_calls": [call]}),
        chunk({}, finish="tool_calls"),
    )
    assert message.parts == (Text("One moment."), ToolCall("look_up", {}, "c"))


def test_citations_and_images_are_streamed_too(captured: Captured) -> None:
    """As in a whole answer."""
    cited = [{"type": "url_citation", "url_citation": {"url": f"http://{name}", "title": name}} for name in "ab"]
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}, "index": 0}
    (message,) = output(
        captured,
        chunk({"role": "assistant", "content": "See."}),
        chunk({"annotations": cited[:1]}),
        chunk({"annotations": cited[1:], "images": [picture]}),
        chunk({}, finish="stop"),
    )
    content, image, citations = message.parts
    assert content == Text("See.")
    assert isinstance(image, Blob)
    assert (image.modality, image.mime_type, image.size) == ("image", "image/png", 3)
    assert citations == Generic("annotations", {"annotations": cited})


def test_the_tier_and_the_bill_are_what_the_server_says(captured: Captured) -> None:
    """Wherever in the stream they stand, and in a whole answer; of a key of one's own, what its provider takes is added."""
    bill = {**USAGE, "cost": 0.25, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.5}}
    text = chunk({"role": "assistant", "content": "Yes."})
    output(captured, {**text, "service_tier": "flex"}, chunk({}, finish="stop"), chunk(None, usage=bill))
    client = Server(whole(completion(service_tier="flex", usage=bill))).client()
    client.chat.completions.create(model=MODEL, messages=ASK)
    for span in spans(captured):
        assert span.attributes["openai.response.service_tier"] == "flex"
        assert isinstance(span.operation, Inference)
        assert span.operation.cost_usd == 0.75


def test_choices_are_kept_apart(captured: Captured) -> None:
    """n > 1: chunks of different choices come in any order."""
    messages = output(
        captured,
        chunk({"role": "assistant", "content": "a"}),
        chunk({"role": "assistant", "content": "b"}, index=1),
        chunk({"content": "A"}),
        chunk({"content": "B"}, index=1),
        chunk({}, finish="stop", index=1),
        chunk({}, finish="length"),
    )
    assert [message.text() for message in messages] == ["aA", "bB"]
    assert [message.finish_reason for message in messages] == ["length", "stop"]


def _unidentified(name: str | None, arguments: str) -> dict[str, Any]:
    """A delta of a tool call of a server that tells its calls neither by number nor by id."""
    return {"tool_calls": [{"index": 0, "id": "", "function": {"name": name, "arguments": arguments}}]}


@pytest.mark.parametrize(
    ("deltas", "parts"),
    [
        ([{"refusal": "I "}, {"refusal": "cannot."}], (Generic("refusal", {"content": "I cannot."}),)),
        ([{"reasoning_content": "thi"}, {"reasoning_content": "nk"}, {"content": "Hm."}], (Reasoning("think"), Text("Hm."))),
        ([{"reasoning": "think", "content": "Hm."}], (Reasoning("think"), Text("Hm."))),
        (
            [{"audio": {"id": "a"}}, {"audio": {"data": "QU"}}, {"audio": {"data": "JD", "transcript": "ABC"}}],
            (SPOKEN, Text("ABC")),
        ),
        (
            [{"function_call": {"name": "look_up", "arguments": '{"order_id":'}}, {"function_call": {"arguments": ' "7"}'}}],
            (ToolCall("look_up", {"order_id": "7"}),),
        ),
        (  # all calls numbered 0, told apart by id
            [
                {"tool_calls": [{"index": 0, "id": "a", "function": {"name": "look_up", "arguments": '{"order_id": "7"}'}}]},
                {"tool_calls": [{"index": 0, "id": "b", "function": {"name": "look_up", "arguments": '{"order_id": "8"}'}}]},
            ],
            (ToolCall("look_up", {"order_id": "7"}, "a"), ToolCall("look_up", {"order_id": "8"}, "b")),
        ),
        (  # all calls numbered 0, none with an id
            [
                _unidentified("look_up", '{"order_id": "7"}'),
                _unidentified("look_up", '{"order_id": "8"}'),
                _unidentified("look_up", ""),
                _unidentified("refund", ""),
                _unidentified(None, '{"order_id":'),
                _unidentified("refund", ' "8"}'),
            ],
            (
                ToolCall("look_up", {"order_id": "7"}),
                ToolCall("look_up", {"order_id": "8"}),
                ToolCall("refund", {"order_id": "8"}),
            ),
        ),
        (  # the same function again, named before its arguments come; its name alone at the end is no call
            [
                _unidentified("look_up", ""),
                {"tool_calls": [{"index": 0, "function": {"arguments": '{"order_id": '}}]},
                {"tool_calls": [{"index": 0, "function": {"arguments": '"7"}'}}]},
                _unidentified("look_up", ""),
                {"tool_calls": [{"index": 0, "function": {"arguments": '{"order_id": '}}]},
                {"tool_calls": [{"index": 0, "function": {"arguments": '"8"}'}}]},
                _unidentified("look_up", ""),
            ],
            (ToolCall("look_up", {"order_id": "7"}), ToolCall("look_up", {"order_id": "8"})),
        ),
        (  # id and name repeated in every chunk
            [
                {"tool_calls": [{"index": 0, "id": "a", "function": {"name": "look_up", "arguments": '{"order_id"'}}]},
                {"tool_calls": [{"index": 0, "id": "a", "function": {"name": "look_up", "arguments": ': "7"}'}}]},
            ],
            (ToolCall("look_up", {"order_id": "7"}, "a"),),
        ),
        (
            [{"tool_calls": [{"index": 0, "id": "c", "type": "custom", "custom": {"name": "sql", "input": "SELECT 1"}}]}],
            (ToolCall("sql", "SELECT 1", "c"),),
        ),
        (
            [
                {
                    "content": [
                        {"type": "thinking", "thinking": [{"type": "text", "text": "think"}]},
                        {"type": "text", "text": "Hm."},
                    ]
                }
            ],
            (Reasoning("think"), Text("Hm.")),
        ),
    ],
)
def test_every_form_of_delta_is_put_together(captured: Captured, deltas: list[dict[str, Any]], parts: tuple[Any, ...]) -> None:
    """Refusal, reasoning, audio, legacy and custom calls, and the ways in which servers number calls."""
    (message,) = output(captured, chunk({"role": "assistant", "content": ""}), *map(chunk, deltas), chunk({}, finish="stop"))
    assert message.parts == parts


def test_an_empty_custom_call_beside_a_function_is_nothing(captured: Captured) -> None:
    """Some servers send both in each piece. Arguments that never come are None, an empty text stays one."""
    nothing = {"name": "", "input": ""}
    deltas = [
        {"index": 0, "id": "1", "type": "function", "function": {"name": "f", "arguments": ""}, "custom": nothing},
        {"index": 0, "function": {"arguments": '{"a": 1}'}, "custom": nothing},
        {"index": 0, "custom": {}},
        {"index": 1, "id": "2", "type": "function", "function": {"name": "g"}, "custom": None},
        {"index": 2, "id": "3", "type": "function", "function": {"name": "h", "arguments": ""}, "custom": {}},
    ]
    (message,) = output(captured, *(chunk({"tool_calls": [delta]}) for delta in deltas), chunk({}, finish_reason="tool_calls"))
    assert message.parts == (ToolCall("f", {"a": 1}, "1"), ToolCall("g", None, "2"), ToolCall("h", "", "3"))


def test_usage_on_every_chunk_counts_once(captured: Captured) -> None:
    """vLLM can send the usage so far with every chunk: the last one counts."""
    chunks = [chunk({"content": "a"}, usage={**USAGE, "completion_tokens": count}) for count in range(1, 9)]
    assert output(captured, chunk({"role": "assistant", "content": ""}), *chunks, chunk({}, finish="stop"))[0].text() == "a" * 8
    operation = spans(captured)[0].operation
    assert operation.usage == Usage(20, 8, 8, None, 3)  # type: ignore[union-attr]


# -- ways to read a stream


def _loop(stream: Any) -> None:
    for _ in stream:
        pass


# -- ways to leave a stream


def test_the_helper_left_early_is_partial(captured: Captured) -> None:
    """``.stream()`` closes the HTTP response itself."""
    with Server(streamed()).client().chat.completions.stream(model=MODEL, messages=ASK) as stream:
        for event in stream:
            if event.type == "content.delta" and event.snapshot == "On ":
                break
    operation = inference(captured)
    assert (operation.partial, operation.output[0].text()) == (True, "On ")


def test_an_answer_that_was_seen_whole_is_not_partial(captured: Captured) -> None:
    """Who stops reading at the finish reason has missed nothing of the answer."""
    with ask(Server(streamed()).client()) as stream:
        for chunk in stream:
            if chunk.choices[0].finish_reason:
                break
    operation = inference(captured)
    assert (operation.partial, operation.output[0].text(), operation.usage) == (False, "On its way.", None)


def test_a_stream_that_takes_too_long_keeps_what_was_seen(captured: Captured) -> None:
    """The program gets the exception, the span the failure and the partial text. Of a lost connection `contract` says so."""
    stream = ask(Server(streamed(text_chunks()[:3], breaks=http.ReadTimeout("slow"))).client())
    with pytest.raises((openai.APIConnectionError, http.TransportError)) as caught:  # the SDK's own in 3.x, httpx's in 2.x
        _loop(stream)
    (span,) = spans(captured)
    operation = span.operation
    assert isinstance(operation, Inference)
    assert (operation.partial, operation.output[0].text()) == (True, "On its")
    assert (failure_of(span).type, failure_of(span).message) == ("timeout", str(caught.value))
    assert next(stream, None) is None


def test_a_broken_raw_body_keeps_what_was_seen(captured: Captured) -> None:
    """The same for a program that reads the lines itself."""
    client = Server(streamed(text_chunks()[:3], breaks=http.ReadError("reset"))).client()
    with (
        pytest.raises(http.ReadError),
        client.chat.completions.with_streaming_response.create(model=MODEL, messages=ASK, stream=True) as response,
    ):
        list(response.iter_lines())
    (span,) = spans(captured)
    assert failure_of(span).type == "connection"
    assert span.operation.output[0].text() == "On its"  # type: ignore[union-attr]


def test_an_error_sent_within_the_stream_is_a_failure(captured: Captured) -> None:
    """The server reports an error after some chunks."""
    reply = streamed([*text_chunks()[:2], {"error": {"message": "overloaded", "code": "rate_limit_exceeded"}}])
    with pytest.raises(openai.APIError):
        _loop(ask(Server(reply).client()))
    (span,) = spans(captured)
    assert failure_of(span).type == "rate_limit"
    assert span.operation.partial  # type: ignore[union-attr]


def test_a_stream_still_open_when_recording_ends_is_recorded(captured: Captured) -> None:
    """At shutdown nothing is lost; the program's stream goes on."""
    stream = ask(Server(streamed()).client())
    next(stream)
    next(stream)
    instrumentation.disable()
    operation = inference(captured)
    assert (operation.partial, operation.output[0].text()) == (True, "On ")
    assert len(list(stream)) == len(text_chunks()) - 2


def test_reading_the_body_leaves_no_trace_on_the_response(captured: Captured) -> None:
    """What was put on the HTTP response to read along is gone when it was read."""
    with Server(whole()).client().chat.completions.with_streaming_response.create(model=MODEL, messages=ASK) as response:
        response.read()
        assert not {"iter_bytes", "aiter_bytes"} & vars(response.http_response).keys()


def test_a_stream_without_a_private_iterator_still_works(captured: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    """Should a future SDK keep its iterator elsewhere: a proxy that is the stream in all but its iteration."""
    original_init = openai.Stream.__init__

    def without(self: Any, **kwargs: Any) -> None:
        original_init(self, **kwargs)
        self._moved = self.__dict__.pop("_iterator")

    monkeypatch.setattr(openai.Stream, "__init__", without)
    monkeypatch.setattr(openai.Stream, "__next__", lambda self: next(self._moved))
    monkeypatch.setattr(openai.Stream, "__iter__", lambda self: self._moved)
    with ask(Server(streamed()).client()) as stream:
        assert isinstance(stream, openai.Stream)
        assert stream.response.status_code == 200
        _loop(stream)
    operation = inference(captured)
    assert (operation.output[0].text(), operation.partial) == ("On its way.", False)


def test_a_generator_that_another_library_has_wrapped_is_recorded(captured: Captured) -> None:
    """Its proxy is a generator to ``isinstance``, and has no response."""

    class Client:
        base_url = "http://localhost"

        @property
        def _client(self) -> Client:
            return self

        def create(self, **_: Any) -> Any:
            return wrapt.ObjectProxy({"choices": [{"delta": {"content": text}}]} for text in "ab")

    client = Client()
    stream = traced(Chat())(client.create, client, (), {"model": "m", "stream": True})
    assert [chunk["choices"][0]["delta"]["content"] for chunk in stream] == ["a", "b"]
    assert [message.text() for message in inference(captured).output] == ["ab"]
