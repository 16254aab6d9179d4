"""The Responses API: what is asked and answered is on one span, whole, streamed, fetched later or left on the way."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import openai
import pydantic
import pytest
from openai_responses_server import (
    CLICK,
    CODE,
    EVERY_TOOL,
    FILES,
    MCP,
    MODEL,
    PICTURE,
    SEARCH,
    TOOL,
    USAGE,
    answered,
    call,
    custom,
    events,
    refused,
    response,
    streamed,
    text_item,
    thought,
    waiting,
)
from openai_server import SPOKEN, Server, error, whole
from spans_of import failure_of, inference, inference_span, spans
from tests.one_word import one_word

import llmtrace
from llmtrace import semconv
from llmtrace.instrumentation._openai_items import read_item
from llmtrace.model import (
    Blob,
    Compaction,
    FetchResponse,
    File,
    Generic,
    Inference,
    Message,
    Part,
    Reasoning,
    ServerToolCall,
    ServerToolResult,
    Text,
    ToolCall,
    ToolResult,
    Uri,
    Usage,
)
from llmtrace.testing import Captured, capture

CITED = [{"type": "url_citation", "url": "https://shop.example/7", "title": "7", "start_index": 0, "end_index": 2}]


def fetched(captured: Captured) -> FetchResponse:
    """The only fetch that was recorded."""
    (operation,) = [span.operation for span in spans(captured) if isinstance(span.operation, FetchResponse)]
    return operation


# -- request and answer


def test_request_and_answer_are_recorded(captured: Captured) -> None:
    """Instructions, input, tools, parameters by the conventions' names; text, tokens, finish, ids, server, attempts."""
    Server(answered(thought("Hm."), text_item())).client().responses.create(
        model=MODEL,
        instructions="Be brief.",
        input="Where is order 7?",
        tools=[TOOL],  # type: ignore[list-item]
        max_output_tokens=50,
        temperature=0,
        reasoning={"effort": "low", "summary": "auto"},
        metadata={"a": "b"},
    )
    operation = inference(captured)
    assert (operation.provider, operation.operation, operation.request_model) == ("openai", "chat", MODEL)
    assert operation.system == (Text("Be brief."),)
    assert operation.input == (Message("user", (Text("Where is order 7?"),)),)
    assert [tool.name for tool in operation.tools] == ["look_up"]
    assert operation.parameters == {
        "max_tokens": 50,
        "temperature": 0,
        "reasoning.level": "low",
        "reasoning": {"summary": "auto"},
        "metadata": {"a": "b"},
    }
    assert operation.output == (Message("assistant", (Reasoning("Hm."), Text("On its way.")), finish_reason="stop"),)
    assert operation.usage == Usage(20, 9, 8, 2, 3)
    assert (operation.response_id, operation.response_model, operation.status) == ("resp_1", "gpt-4o-2024-08-06", "completed")
    assert (operation.finish_reasons, operation.attempts, operation.server_address, operation.server_port) == (
        ("stop",),
        1,
        "llm.local",
        8000,
    )
    assert not operation.partial
    assert not operation.stream


def assistant(*parts: Part) -> Message:
    return Message("assistant", parts)


def tool(*parts: Part) -> Message:
    return Message("tool", parts)


ITEMS: list[tuple[Any, Message]] = [
    ({"role": "user", "content": "Hello"}, Message("user", (Text("Hello"),))),
    ({"role": "developer", "content": [{"type": "input_text", "text": "Hi"}]}, Message("developer", (Text("Hi"),))),
    (text_item("Yes", CITED), assistant(Text("Yes"), Generic("annotations", {"annotations": CITED}))),
    (refused("No."), assistant(Generic("refusal", {"content": "No."}))),
    (call('{"a": 1}'), assistant(ToolCall("look_up", {"a": 1}, "call_1"))),
    (call('{"a": 1'), assistant(ToolCall("look_up", '{"a": 1', "call_1"))),
    (custom(), assistant(ToolCall("sql", "SELECT 1", "call_c"))),
    ({"type": "function_call_output", "call_id": "call_1", "output": "sent"}, tool(ToolResult("sent", "call_1"))),
    (
        {
            "type": "custom_tool_call_output",
            "call_id": "c",
            "output": [
                {"type": "input_text", "text": "seen"},
                {"type": "input_image", "image_url": "data:image/png;base64,QUJD"},
            ],
        },
        tool(ToolResult("seen", "c"), Blob("image", "image/png", "QUJD")),
    ),
    (thought("so", "and so", content=["because"]), assistant(Reasoning("so\nand so"), Reasoning("because"))),
    (thought(encrypted_content="gAAA"), assistant(Reasoning(""))),
    (
        {
            "role": "user",
            "content": [
                {"type": "input_image", "file_id": "file_1", "detail": "auto"},
                {"type": "input_image", "image_url": "https://shop.example/7.png"},
                {"type": "input_file", "file_data": "data:application/pdf;base64,QUJD", "filename": "a.pdf"},
                {"type": "input_file", "file_url": "https://shop.example/7.pdf"},
                {"type": "input_audio", "input_audio": {"data": "QUJD", "format": "wav"}},
                {"type": "of_tomorrow", "what": [1]},
            ],
        },
        Message(
            "user",
            (
                File("file_1", "image"),
                Uri("https://shop.example/7.png", "image"),
                Blob("file", "application/pdf", "QUJD"),
                Uri("https://shop.example/7.pdf", "file"),
                Blob("audio", "audio/wav", "QUJD"),
                Generic("of_tomorrow", {"what": [1]}),
            ),
        ),
    ),
    (
        CLICK,
        assistant(
            ServerToolCall(
                "computer",
                {
                    "type": "computer",
                    "status": "completed",
                    "action": {"type": "click", "button": "left", "x": 1, "y": 2},
                    "pending_safety_checks": [],
                },
                "call_u",
            )
        ),
    ),
    (
        {
            "type": "computer_call_output",
            "call_id": "call_u",
            "output": {"type": "computer_screenshot", "image_url": "data:image/png;base64,QUJD"},
        },
        tool(ServerToolResult({"type": "computer"}, "call_u"), Blob("image", "image/png", "QUJD")),
    ),
    (
        FILES,
        assistant(
            ServerToolCall("file_search", {"type": "file_search", "status": "completed", "queries": ["order 7"]}, "fs_1"),
            ServerToolResult({"type": "file_search", "results": FILES["results"]}, "fs_1"),
        ),
    ),
    (
        MCP,
        assistant(
            ServerToolCall("roll", {"type": "mcp", "server_label": "dice", "arguments": {"sides": 6}}, "mcp_1"),
            ServerToolResult({"type": "mcp", "output": "4"}, "mcp_1"),
        ),
    ),
    (
        {"type": "mcp_list_tools", "id": "m", "server_label": "dice", "tools": []},
        assistant(ServerToolResult({"type": "mcp_list_tools", "server_label": "dice", "tools": []}, "m")),
    ),
    (
        PICTURE,
        assistant(
            ServerToolCall(
                "image_generation", {"type": "image_generation", "status": "completed", "output_format": "webp"}, "ig_1"
            ),
            Blob("image", "image/webp", "QUJD"),
        ),
    ),
    (
        {"type": "of_tomorrow_call", "id": "t_1", "wish": "rain", "output": "sun"},
        assistant(
            ServerToolCall("of_tomorrow", {"type": "of_tomorrow", "wish": "rain"}, "t_1"),
            ServerToolResult({"type": "of_tomorrow", "output": "sun"}, "t_1"),
        ),
    ),
    ({"type": "compaction", "id": "cmp_1", "encrypted_content": "gAAA"}, assistant(Compaction(None, "cmp_1"))),
    ({"type": "item_reference", "id": "msg_1"}, Message("unknown", (Generic("item_reference", {"id": "msg_1"}),))),
    ({"id": "msg_1"}, Message("unknown", (Generic("item_reference", {"id": "msg_1"}),))),
    ({"type": "additional_tools", "role": "developer", "tools": [TOOL]}, Message("developer", ())),
    (
        {"type": "mcp_approval_request", "id": "a", "name": "roll", "arguments": "{}"},
        assistant(Generic("mcp_approval_request", {"id": "a", "name": "roll", "arguments": "{}"})),
    ),
    ({"type": "message", "role": "user", "content": 7}, Message("user", (Generic("content", {"content": 7}),))),
    ({"type": "reasoning", "id": "rs", "summary": 7}, assistant(Generic("reasoning", {"id": "rs", "summary": 7}))),
    (None, Message("unknown", (Generic("item", {}),))),
]


@pytest.mark.parametrize(("item", "expected"), ITEMS, ids=lambda value: value.get("type") if isinstance(value, dict) else "")
def test_an_item_is_a_message(item: Any, expected: Message) -> None:
    """Every kind of item in the model's words; one that is not known, or broken, is kept whole."""
    assert read_item(item) == expected


def test_the_sdks_own_objects_read_like_dicts(captured: Captured) -> None:
    """An answer's items go back into the next request as the SDK's models."""
    items = (thought("Hm."), *EVERY_TOOL, call(), text_item("Well.", CITED))
    client = Server(answered(*items), answered(), answered()).client()
    answer = client.responses.create(model=MODEL, input="Where?")
    client.responses.create(model=MODEL, input=[{"role": "user", "content": "Where?"}, *answer.output])  # type: ignore[list-item]
    client.responses.create(model=MODEL, input=[{"role": "user", "content": "Where?"}, *items])  # type: ignore[list-item]
    first, objects, dicts = (span.operation for span in spans(captured))
    assert isinstance(first, Inference)
    assert isinstance(objects, Inference)
    assert isinstance(dicts, Inference)
    assert objects.input == dicts.input
    assert tuple(part for message in objects.input[1:] for part in message.parts) == first.output[0].parts


def test_tools_in_a_namespace_or_in_the_input_are_on_offer(captured: Captured) -> None:
    """A call of a tool that was loaded on the way is no unknown tool."""
    deferred = {**TOOL, "name": "refund", "defer_loading": True}
    inner = {"type": "namespace", "name": "crm", "description": "", "tools": [deferred]}
    added = {"type": "additional_tools", "role": "developer", "tools": [{**TOOL, "name": "track"}]}
    calls = [call(call_id=name, name=name) for name in ("look_up", "refund", "track")]
    Server(answered(*calls)).client().responses.create(
        model=MODEL,
        input=[{"role": "user", "content": "?"}, added],  # type: ignore[list-item]
        tools=[TOOL, inner, {"type": "web_search"}],  # type: ignore[list-item]
    )
    span, operation = inference_span(captured)
    assert [tool.name for tool in operation.tools] == ["look_up", "refund", "web_search", "track"]
    assert span.violations == ()


def test_calls_are_checked_at_once(captured: Captured) -> None:
    """A function call is judged by the request's definition, in the arguments that the model wrote."""
    Server(answered(call('{"order": 7}'), call("{", call_id="c2"))).client().responses.create(
        model=MODEL,
        input="?",
        tools=[TOOL],  # type: ignore[list-item]
    )
    (span,) = spans(captured)
    assert {(violation.code, violation.call_id) for violation in span.violations} >= {
        ("missing", "call_1"),
        ("malformed_json", "c2"),
    }


# -- context that is not visible


def test_earlier_context_is_marked(captured: Captured) -> None:
    """`previous_response_id` and `conversation` say that the provider adds what is not visible here."""
    client = Server(answered(), answered(conversation={"id": "conv_1"})).client()
    client.responses.create(model=MODEL, input="?", previous_response_id="resp_0")
    client.responses.create(model=MODEL, input="?", conversation="conv_1")
    first, second = spans(captured)
    assert isinstance(first.operation, Inference)
    assert isinstance(second.operation, Inference)
    assert first.operation.previous_response_id == "resp_0"
    assert semconv.CONVERSATION_ID not in first.attributes
    assert second.operation.parameters == {"conversation": "conv_1"}
    assert second.attributes[semconv.CONVERSATION_ID] == "conv_1"


def test_values_from_hidden_context_are_not_called_made_up() -> None:
    """Where earlier context is kept by the provider, a value found nowhere is unknown, not ungrounded."""
    variants: list[dict[str, Any]] = [{}, {"previous_response_id": "resp_0"}, {"conversation": {"id": "conv_1"}}]
    originals = []
    for options in variants:
        with capture(instrument=("openai",), redact=False) as captured:
            client = Server(answered(call('{"order_id": "KS-20457-9931"}'))).client()
            client.responses.create(model=MODEL, input="Refund it.", tools=[TOOL], **options)  # type: ignore[list-item]
        originals.append([evaluation.name for evaluation in captured.spans[0].evaluations])
    assert originals == [["ungrounded_argument"], [], []]


def test_the_programs_own_conversation_counts(captured: Captured) -> None:
    """A conversation id that the program gave is not replaced by the provider's."""
    with llmtrace.context(conversation="mine"):
        Server(answered(conversation={"id": "conv_1"})).client().responses.create(model=MODEL, input="?")
    (span,) = spans(captured)
    assert span.attributes[semconv.CONVERSATION_ID] == "mine"


# -- how answers end

ENDS = [
    (response(), ("stop",), "completed"),
    (response(call()), ("tool_call",), "completed"),
    (response(custom()), ("tool_call",), "completed"),
    (response(SEARCH, text_item()), ("stop",), "completed"),
    (response(status="incomplete", incomplete_details={"reason": "max_output_tokens"}), ("length",), "incomplete"),
    (response(status="incomplete", incomplete_details={"reason": "content_filter"}), ("content_filter",), "incomplete"),
    (response(status="failed", output=[], error={"code": "server_error", "message": "down"}), ("error",), "failed"),
    (response(status="cancelled", output=[], usage=None), ("error",), "cancelled"),
    (waiting("in_progress"), (), "in_progress"),
]


@pytest.mark.parametrize(("answer", "reasons", "status"), ENDS, ids=lambda value: str(value)[:20])
def test_how_an_answer_ends(captured: Captured, answer: Any, reasons: tuple[str, ...], status: str) -> None:
    """Finish reason in the conventions' words; the provider's status beside it; a failed answer is a failure of the span."""
    Server(whole(answer)).client().responses.create(model=MODEL, input="?")
    span, operation = inference_span(captured)
    assert (operation.finish_reasons, operation.status) == (reasons, status)
    assert [message.finish_reason for message in operation.output] == [*(reasons if operation.output else ())]
    assert (span.failure.type if span.failure else None) == ("server_error" if status == "failed" else None)
    assert not operation.partial


# -- in the background


def test_a_background_answer_is_fetched_later(captured: Captured) -> None:
    """Creating says that it is queued and is no empty output; fetching gives the answer, its calls judged, no tokens."""
    server = Server(whole(waiting()), whole(waiting("in_progress")), answered(call('{"order": 7}')))

    @llmtrace.workflow
    def program() -> None:
        client = server.client()
        response = client.responses.create(model=MODEL, input="?", tools=[TOOL], background=True)  # type: ignore[list-item]
        client.responses.retrieve(response.id)
        client.responses.retrieve(response_id=response.id)

    program()
    created, early, late = spans(captured)[:3]
    assert isinstance(created.operation, Inference)
    assert (created.operation.status, created.operation.output, created.operation.finish_reasons) == ("queued", (), ())
    assert created.evaluations == ()
    assert isinstance(early.operation, FetchResponse)
    assert (early.operation.status, early.operation.output, early.violations) == ("in_progress", (), ())
    fetch = late.operation
    assert isinstance(fetch, FetchResponse)
    assert (fetch.provider, fetch.response_id, fetch.status, fetch.attempts) == ("openai", "resp_1", "completed", 1)
    assert fetch.output[0].tool_calls() == (ToolCall("look_up", {"order": 7}, "call_1"),)
    assert fetch.finish_reasons == ("tool_call",)
    assert "missing" in {violation.code for violation in late.violations}
    assert (late.name, late.kind) == ("fetch_response", "client")


def test_a_fetch_that_fails_names_what_was_asked_for(captured: Captured) -> None:
    """By position, the id of the response is on the span also where there is none."""
    with pytest.raises(openai.NotFoundError):
        Server(error(404)).client().responses.retrieve("resp_9")
    (span,) = spans(captured)
    assert failure_of(span).type == "not_found"
    assert fetched(captured).response_id == "resp_9"


def test_wrong_arguments_of_retrieve_are_refused_as_ever(captured: Captured) -> None:
    """An empty id, none, or two."""
    client = Server().client()
    with pytest.raises(ValueError, match="non-empty"):
        client.responses.retrieve("")
    with pytest.raises(TypeError, match="response_id"):
        client.responses.retrieve()  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="response_id"):
        client.responses.retrieve("a", response_id="b")  # type: ignore[call-overload]


def test_a_streamed_fetch_equals_the_whole_one(captured: Captured) -> None:
    """Also where it is taken up again in the middle of the stream; so do the async client and the beta."""
    answer = response(thought("Hm."), text_item("Well then."))
    later = [event for event in events(answer) if event["sequence_number"] > 6]
    server = Server(whole(answer), streamed(answer), streamed(later), whole(answer), whole(answer))
    client = server.client()
    client.responses.retrieve("resp_1")
    list(client.responses.retrieve("resp_1", stream=True))
    list(client.responses.retrieve("resp_1", stream=True, starting_after=6))
    beta: Any = getattr(client.beta, "responses", client.responses)  # not in every 2.x
    beta.retrieve("resp_1")
    asyncio.run(server.aclient().responses.retrieve("resp_1"))
    first, *later_spans = spans(captured)
    assert [span.operation for span in later_spans] == [first.operation] * 4
    assert later_spans[1].attributes[semconv.REQUEST_STREAM_CURSOR] == "6"


# -- streams

ANSWERS = {
    "text": response(),
    "two texts": response(text_item("One."), text_item("Two.")),
    "cited": response(text_item("Here.", CITED)),
    "reasoning": response(thought("so", "and so"), thought(content=["be", "cause"]), text_item()),
    "calls": response(call(), call('{"order_id": "8"}', call_id="call_2")),
    "broken call": response(call('{"order_id": ')),
    "custom": response(custom()),
    "refusal": response(refused()),
    "every tool": response(*EVERY_TOOL, CLICK, text_item()),
    "incomplete": response(status="incomplete", incomplete_details={"reason": "max_output_tokens"}),
    "failed": response(status="failed", output=[], error={"code": "rate_limit_exceeded", "message": "slow down"}),
    "nothing": response(output=[]),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_a_streamed_answer_equals_the_whole_one(captured: Captured, name: str) -> None:
    """Message, tokens, finish, status and failure; only time and number of the events come on top."""
    server = Server(whole(ANSWERS[name]), streamed(ANSWERS[name]))
    server.client().responses.create(model=MODEL, input="?")
    list(server.client().responses.create(model=MODEL, input="?", stream=True))
    first, second = spans(captured)
    assert isinstance(first.operation, Inference)
    assert isinstance(second.operation, Inference)
    expected = events(ANSWERS[name])
    assert (second.operation.stream, second.operation.chunks) == (True, len(expected))
    for field in ("input", "output", "usage", "finish_reasons", "status", "response_id", "response_model", "partial"):
        assert getattr(first.operation, field) == getattr(second.operation, field), field
    assert first.failure == second.failure
    assert first.violations == second.violations


def test_a_stream_whose_last_event_has_no_items(captured: Captured) -> None:
    """Some servers do not repeat the items: they were seen."""
    stream_events = events(response(text_item("Here.", CITED)))
    stream_events[-1]["response"] = {**stream_events[-1]["response"], "output": []}
    list(Server(streamed(stream_events)).client().responses.create(model=MODEL, input="?", stream=True))
    operation = inference(captured)
    assert operation.output[0].parts == (Text("Here."), Generic("annotations", {"annotations": CITED}))
    assert not operation.partial


def test_every_prefix_of_a_stream_tells_what_was_seen() -> None:
    """Left after any event, a stream is partial with its text so far, its calls' raw arguments so far, and no finish."""
    answer = response(thought("so", content=["be"]), text_item("Well then.", CITED), call(), custom(), refused(), CODE, MCP)
    stream_events = events(answer)
    for count in range(1, len(stream_events)):
        with capture(instrument=("openai",), redact=False) as captured:
            stream = Server(streamed(answer)).client().responses.create(model=MODEL, input="?", stream=True)
            seen = [next(stream) for _ in range(count)]
            stream.close()
        operation = inference(captured)
        assert (operation.partial, operation.chunks, operation.finish_reasons, operation.usage) == (True, count, (), None)
        parts = [part for message in operation.output for part in message.parts]
        deltas = dict.fromkeys(("response.output_text.delta", "response.function_call_arguments.delta"), "")
        for event in seen:
            if event.type in deltas:
                deltas[event.type] += event.delta
        assert "".join(part.content for part in parts if isinstance(part, Text)) == deltas["response.output_text.delta"]
        raw = [part.arguments for part in parts if isinstance(part, ToolCall) and part.name == "look_up"]
        wrote = deltas["response.function_call_arguments.delta"]
        assert raw == (
            [] if count < _place(stream_events, "look_up") else [{"order_id": "7"} if wrote == '{"order_id": "7"}' else wrote]
        )


def _place(stream_events: list[dict[str, Any]], name: str) -> int:
    """How many events it takes until a call of this tool has begun."""
    return next(number for number, event in enumerate(stream_events, 1) if event.get("item", {}).get("name") == name)


def test_a_helper_that_is_left_is_partial(captured: Captured) -> None:
    """Leaving the ``with`` block of the ``.stream()`` helper ends the span."""
    with Server(streamed()).client().responses.stream(model=MODEL, input="?") as stream:
        for event in stream:
            if event.type == "response.output_text.delta":
                break
    operation = inference(captured)
    assert (operation.partial, operation.output[0].text(), operation.status) == (True, "On ", "in_progress")


def test_a_stream_that_ends_without_its_last_event_is_partial(captured: Captured) -> None:
    """The server closed the connection in good order, too early."""
    list(Server(streamed(first=6)).client().responses.create(model=MODEL, input="?", stream=True))
    assert inference(captured).partial


def test_an_error_event_is_the_spans_failure(captured: Captured) -> None:
    """The library gives it as an event and raises nothing; the span tells of it."""
    stream_events = [*events()[:6], {"type": "error", "code": "rate_limit_exceeded", "message": "slow", "param": None}]
    seen = list(Server(streamed(stream_events)).client().responses.create(model=MODEL, input="?", stream=True))
    assert seen[-1].type == "error"
    (span,) = spans(captured)
    assert (failure_of(span).type, failure_of(span).message) == ("rate_limit", "slow")
    assert isinstance(span.operation, Inference)
    assert span.operation.partial


# -- structured output


class Where(pydantic.BaseModel):
    city: str
    days: int


def test_a_compaction_is_a_call_of_the_model(captured: Captured) -> None:
    """Its tokens count; what it keeps of the user's is no answer."""
    kept_message = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Where is order 7?"}]}
    output = [kept_message, {"type": "compaction", "id": "cmp_1", "encrypted_content": "…"}]
    answer = {"id": "resp_1", "object": "response.compaction", "created_at": 1, "output": output, "usage": USAGE}
    Server(whole(answer)).client().responses.compact(model=MODEL, input="Where is order 7?")
    operation = inference(captured)
    assert operation.output == (Message("assistant", (Compaction(None, "cmp_1"),), finish_reason="stop"),)
    assert operation.usage is not None
    assert operation.usage.input_tokens == USAGE["input_tokens"]
    assert captured.spans[0].evaluations == ()


def test_the_schema_asked_for_is_held(captured: Captured) -> None:
    """`text.format`, and `parse`'s class as it is sent, are what the answer is judged by."""
    form: Any = {"format": {"type": "json_schema", "name": "where", "schema": Where.model_json_schema()}}
    client = Server(answered(text_item('{"city": "Oslo"}')), answered(text_item('{"city": "Oslo", "days": 2}'))).client()
    client.responses.create(model=MODEL, input="?", text=form)
    parsed = client.responses.parse(model=MODEL, input="?", text_format=Where)
    assert parsed.output_parsed == Where(city="Oslo", days=2)
    wrong, right = spans(captured)
    assert [(violation.where, violation.code, violation.pointer) for violation in wrong.violations] == [
        ("output", "missing", "/days")
    ]
    assert right.violations == ()
    assert isinstance(right.operation, Inference)
    assert right.operation.parameters["text"]["format"]["schema"]["required"] == ["city", "days"]
    assert right.operation.output[0].text() == '{"city": "Oslo", "days": 2}'


def test_an_answer_that_cannot_be_parsed_is_on_the_span(captured: Captured) -> None:
    """`parse` raises over it; the span has the answer, its violation and the failure."""
    with pytest.raises(pydantic.ValidationError):
        Server(answered(text_item('{"city": "Oslo"}'))).client().responses.parse(model=MODEL, input="?", text_format=Where)
    span, operation = inference_span(captured)
    assert operation.output[0].text() == '{"city": "Oslo"}'
    assert [violation.pointer for violation in span.violations] == ["/days"]
    assert span.failure is not None


def test_a_refusal_need_not_have_the_form(captured: Captured) -> None:
    """It is a part of its own, and no violation."""
    Server(answered(refused())).client().responses.parse(model=MODEL, input="?", text_format=Where)
    (span,) = spans(captured)
    assert span.violations == ()
    assert isinstance(span.operation, Inference)
    assert span.operation.output[0].parts == (Generic("refusal", {"content": "I would rather not."}),)


def test_a_generated_picture_is_kept_by_its_digest(captured: Captured) -> None:
    """Bytes stay in memory."""
    Server(answered(PICTURE)).client().responses.create(model=MODEL, input="Draw.")
    picture = inference(captured).output[0].parts[1]
    assert picture == Blob("image", "image/webp", digest=SPOKEN.digest, size=3)


# -- the whole loop


def test_tools_are_offered_run_and_answered(captured: Captured) -> None:
    """`Tools.openai("responses")` and `Tools.run` over an answer of the real client: joined by call id."""

    @llmtrace.tool(on_invalid="reply")
    def look_up(order_id: str) -> dict[str, str]:
        "Look an order up."
        return {"order_id": order_id, "state": "sent"}

    server = Server(
        answered(thought("Hm."), call('{"order": 7}')), answered(call(call_id="call_2")), answered(text_item("Sent."))
    )
    client, tools = server.client(), llmtrace.Tools(look_up)

    @llmtrace.agent
    def support(task: str) -> str:
        items: list[Any] = [{"role": "user", "content": task}]
        while True:
            answer = client.responses.create(model=MODEL, input=items, tools=tools.openai("responses"))
            items += answer.output
            results = tools.run(answer)
            if not results:
                return answer.output_text
            items += results

    assert support("Where is order 7?") == "Sent."
    names = [span.name for span in spans(captured)]
    assert names == [
        "chat gpt-4o",
        "execute_tool look_up",
        "chat gpt-4o",
        "execute_tool look_up",
        "chat gpt-4o",
        "invoke_agent support",
    ]
    refused_call, ran = spans(captured)[1], spans(captured)[3]
    assert (refused_call.failure is not None, refused_call.operation.executed) == (True, False)  # type: ignore[union-attr]
    assert (ran.operation.call_id, ran.operation.result) == ("call_2", {"order_id": "7", "state": "sent"})  # type: ignore[union-attr]
    last = spans(captured)[4].operation
    assert isinstance(last, Inference)
    assert [message.role for message in last.input] == ["user", "assistant", "assistant", "tool", "assistant", "tool"]


@pytest.mark.parametrize("item", [*EVERY_TOOL], ids=lambda item: item["type"])
def test_an_answer_beside_a_tool_of_the_provider_is_a_normal_end(
    item: dict[str, Any], captured: Captured, tmp_path: Path
) -> None:
    """The provider ran the tool, so nothing was left to run, and nothing is said of the run."""
    client = Server(answered(item, text_item("It leaves at 10:15."))).client()

    @llmtrace.agent
    def ask(task: str) -> str:
        return str(client.responses.create(model=MODEL, input=task, tools=[{"type": "web_search"}]).output_text)

    assert ask("When does the ferry to Moss leave?") == "It leaves at 10:15."
    labels = [found.label for span in captured.spans for found in span.evaluations if found.name == "end_state"]
    assert "stopped" not in labels
    word = one_word(captured.trace, tmp_path / "store")
    assert (word.health, word.confidence) == ("ok", None)
