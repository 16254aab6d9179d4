"""What is peculiar to mistralai; what it has in common with others, `contract/` holds."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pydantic
import pytest
from kit import Reply, json_reply, sse_reply
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from server import Server
from spans_of import inference

import llmtrace
from llmtrace.instrumentation._mistral_entries import read_entry
from llmtrace.model import (
    Failure,
    Generic,
    Inference,
    Reasoning,
    ServerToolCall,
    ServerToolResult,
    Span,
    Text,
    ToolCall,
    ToolExecution,
    ToolResult,
    Usage,
)
from llmtrace.recorder import collected
from llmtrace.testing import Captured, capture

pytest.importorskip("mistralai")
from kits.mistral import Client
from openai_server import completion, message

INSTRUMENT = ("mistral",)

ASK: Any = {"model": "mistral-test", "messages": [{"role": "user", "content": "Hi."}]}
DONE = b"data: [DONE]\n\n"


def client(server: Server) -> Any:
    return Client(api_key="none", server_url=server.url)


def answer(content: Any, finish: str = "stop", **fields: Any) -> dict[str, Any]:
    usage = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
    return completion(message(content, **fields), finish=finish, model="mistral-test-1", usage=usage)


def chunk(finish: str | None = None, **delta: Any) -> dict[str, Any]:
    about = {"id": "c", "created": 1, "model": "mistral-test-1", "object": "chat.completion.chunk"}
    return {**about, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


STREAMED = pytest.mark.parametrize("streamed", [False, True])


def ask(whole: dict[str, Any], chunks: list[dict[str, Any]], *, streamed: bool, by: str = "chat", **request: Any) -> None:
    """One question, whose answer comes whole or as chunks."""
    with Server(sse_reply(chunks, done=DONE) if streamed else json_reply(whole)) as server:
        resource = getattr(client(server), by)
        list(resource.stream(**request)) if streamed else resource.complete(**request)


THINKING = [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}, {"type": "text", "text": "Yes."}]


@STREAMED
def test_what_the_model_thinks_is_reasoning(captured: Captured, streamed: bool) -> None:
    """Parts of the content, whole and in deltas."""
    ask(answer(THINKING), [chunk(content=THINKING[:1]), chunk("stop", content="Yes.")], streamed=streamed, **ASK)
    assert inference(captured).output[0].parts == (Reasoning("Hm."), Text("Yes."))


@STREAMED
def test_arguments_may_be_an_object(captured: Captured, streamed: bool) -> None:
    """Text or object, the call is the same; an id that the SDK made up is none."""
    calls = [
        {"id": "a", "index": 0, "function": {"name": "f", "arguments": {"x": 1}}},
        {"index": 1, "function": {"name": "g", "arguments": '{"y": 2}'}},
    ]
    chunks = [chunk("tool_calls", content="", tool_calls=calls)]
    ask(answer("", "tool_calls", tool_calls=calls), chunks, streamed=streamed, **ASK)
    operation = inference(captured)
    assert operation.output[0].parts == (ToolCall("f", {"x": 1}, "a"), ToolCall("g", {"y": 2}))
    assert operation.finish_reasons == ("tool_call",)


def test_parameters_have_the_names_of_the_conventions(captured: Captured) -> None:
    """Where the conventions have one; arguments that say how to send are no parameters."""
    with Server(json_reply(answer("ok", "model_length"))) as server:
        client(server).chat.complete(
            **ASK, random_seed=3, stop="END", safe_prompt=True, timeout_ms=9000, http_headers={"x": "y"}
        )
        assert server.requests[0].headers["x"] == "y"
    operation = inference(captured)
    assert operation.parameters == {"seed": 3, "stop_sequences": ["END"], "safe_prompt": True}
    assert operation.finish_reasons == ("length",)


def test_messages_that_can_be_read_once_are_read_from_the_request(captured: Captured) -> None:
    """An iterator is the SDK's to consume."""
    with Server(json_reply(answer("ok"))) as server:
        client(server).chat.complete(model="mistral-test", messages=iter(ASK["messages"]))
    assert inference(captured).input[0].text() == "Hi."


class City(pydantic.BaseModel):
    name: str
    people: int


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_parsed_answer_is_validated(captured: Captured, asynchronous: bool) -> None:
    """``parse`` is one inference; the schema is the one that the SDK makes of the model. What it raises goes through."""
    with Server(json_reply(answer('{"name": "Rom", "people": "many"}'))) as server:
        chat = client(server).chat
        with pytest.raises(pydantic.ValidationError):
            asyncio.run(chat.parse_async(City, **ASK)) if asynchronous else chat.parse(City, **ASK)
    (span,) = captured.spans
    assert [(violation.where, violation.code, violation.pointer) for violation in span.violations] == [
        ("output", "wrong_type", "/people")
    ]


@STREAMED
def test_an_agent_is_an_inference(captured: Captured, streamed: bool) -> None:
    """Its model is not known before it answers; its id is a parameter."""
    chunks = [chunk("stop", content="ok")]
    ask(answer("ok"), chunks, streamed=streamed, by="agents", agent_id="ag:1", messages=ASK["messages"])
    operation = inference(captured)
    assert (operation.request_model, operation.response_model) == (None, "mistral-test-1")
    assert operation.parameters["agent_id"] == "ag:1"
    assert operation.output[0].text() == "ok"


@STREAMED
def test_code_that_is_filled_in(captured: Captured, streamed: bool) -> None:
    """The prompt is the user's; what stands after the gap is a parameter."""
    events = [chunk(role="assistant", content="ret"), chunk(content="urn"), chunk("stop")]
    request: Any = {"model": "codestral-test", "prompt": "def f():", "suffix": " 1", "max_tokens": 9}
    ask(answer("return"), events, streamed=streamed, by="fim", **request)
    operation = inference(captured)
    assert operation.operation == "text_completion"
    assert (operation.input[0].text(), operation.output[0].text()) == ("def f():", "return")
    assert operation.parameters == {"suffix": " 1", "max_tokens": 9}
    assert operation.finish_reasons == ("stop",)


EXECUTED: Any = {
    "type": "tool.execution",
    "id": "te_1",
    "name": "web_search",
    "arguments": '{"query": "7"}',
    "info": {"hits": 3},
}
HANDED: Any = {
    "type": "agent.handoff",
    "id": "ah_1",
    "previous_agent_id": "a",
    "previous_agent_name": "A",
    "next_agent_id": "b",
    "next_agent_name": "B",
}
THOUGHT: Any = {"type": "message.output", "id": "m_1", "model": "mistral-test-1", "content": THINKING}
CITED: Any = {"type": "tool_reference", "tool": "web_search", "title": "A", "url": "http://a"}
ASKED: Any = {"type": "function.call", "id": "fc_1", "tool_call_id": "c", "name": "f", "arguments": '{"x": 1}'}
SPENT = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 17, "connector_tokens": 10}
TURN: list[dict[str, Any]] = [
    {"type": "conversation.response.started", "conversation_id": "conv_2"},
    {"type": "tool.execution.started", "output_index": 0, "id": "te_1", "name": "web_search", "arguments": ""},
    {"type": "tool.execution.delta", "output_index": 0, "id": "te_1", "name": "web_search", "arguments": '{"query": "7"}'},
    {"type": "tool.execution.done", "output_index": 0, "id": "te_1", "name": "web_search", "info": {"hits": 3}},
    {"type": "agent.handoff.started", "output_index": 1, **{key: HANDED[key] for key in list(HANDED)[1:4]}},
    {"type": "agent.handoff.done", "output_index": 1, **{key: HANDED[key] for key in ("id", *list(HANDED)[4:])}},
    {"type": "message.output.delta", "output_index": 2, "id": "m_1", "model": "mistral-test-1", "content": THINKING[0]},
    {"type": "message.output.delta", "output_index": 2, "content_index": 1, "id": "m_1", "content": "Y"},
    {"type": "message.output.delta", "output_index": 2, "content_index": 1, "id": "m_1", "content": "es."},
    {"type": "message.output.delta", "output_index": 2, "content_index": 2, "id": "m_1", "content": CITED},
    {**ASKED, "type": "function.call.delta", "output_index": 3, "arguments": '{"x"'},
    {**ASKED, "type": "function.call.delta", "output_index": 3, "arguments": ": 1}"},
    {"type": "conversation.response.done", "usage": SPENT},
]


def converse(*, stream: bool, events: list[dict[str, Any]] = TURN, turn: str = "append", **options: Any) -> None:
    outputs = [EXECUTED, HANDED, {**THOUGHT, "content": [*THINKING, CITED]}, ASKED]
    whole = {"conversation_id": "conv_2", "outputs": outputs, "usage": SPENT}
    stream_events = tuple(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in events)
    with Server(Reply(stream_events, content_type="text/event-stream") if stream else json_reply(whole)) as server:
        resource = client(server).beta.conversations
        arguments = {**({"from_entry_id": "m_0"} if turn == "restart" else {}), "conversation_id": "conv_1", **options}
        if stream:
            list(getattr(resource, f"{turn}_stream")(**arguments))
        else:
            getattr(resource, turn)(**arguments)


@STREAMED
def test_a_conversation_goes_on(captured: Captured, streamed: bool) -> None:
    """Only what is new is sent; all entries that come back are the answer, in their order."""
    answers: Any = [
        {"type": "function.result", "tool_call_id": "c0", "result": "late"},
        {"role": "user", "content": [{"type": "text", "text": "And now?"}]},
    ]
    converse(stream=streamed, inputs=answers, completion_args={"random_seed": 3})
    operation = inference(captured)
    assert [(message.role, message.parts) for message in operation.input] == [
        ("tool", (ToolResult("late", "c0"),)),
        ("user", (Text("And now?"),)),
    ]
    (last_message,) = operation.output
    assert last_message.parts == (
        ServerToolCall("web_search", {"type": "web_search", "arguments": {"query": "7"}}, "te_1"),
        ServerToolResult({"type": "web_search", "info": {"hits": 3}}, "te_1"),
        Generic("agent.handoff", {key: HANDED[key] for key in list(HANDED)[1:]}),
        Reasoning("Hm."),
        Text("Yes."),
        Generic("tool_reference", {key: CITED[key] for key in list(CITED)[1:]}),
        ToolCall("f", {"x": 1}, "c"),
    )
    assert (operation.finish_reasons, operation.usage) == (("tool_call",), Usage(15, 2))
    assert operation.response_model == "mistral-test-1"
    assert operation.parameters == {"conversation": "conv_1", "seed": 3}
    assert operation.is_continued
    assert captured.spans[0].attributes["gen_ai.conversation.id"] == "conv_2"
    assert (operation.partial, operation.stream) == (False, streamed)


@STREAMED
def test_a_conversation_begins_anew_from_an_entry(captured: Captured, streamed: bool) -> None:
    """It is told by the entry's id."""
    converse(stream=streamed, turn="restart", inputs="Again.")
    operation = inference(captured)
    assert operation.input[0].text() == "Again."
    assert operation.parameters == {"conversation": "conv_1", "from_entry_id": "m_0"}


def test_an_error_within_a_conversation_is_a_failure(captured: Captured) -> None:
    """With what was said until then."""
    converse(
        stream=True,
        inputs="Go on.",
        events=[*TURN[:8], {"type": "conversation.response.error", "message": "broken", "code": 500}],
    )
    operation, failure = inference(captured), captured.spans[0].failure
    assert failure is not None
    assert (failure.type, failure.message) == ("server_error", "broken")
    assert (operation.partial, operation.output[0].text()) == (True, "Y")


def called(order_id: str, number: int) -> dict[str, Any]:
    return {**ASKED, "id": f"fc_{number}", "tool_call_id": f"call_{number}", "name": "look_up", "arguments": order_id}


def run(captured: Captured, *functions: Any, **context: Any) -> list[Span]:
    """A run whose model asks for two orders at once, and answers; what was recorded."""
    contexts = pytest.importorskip("mistralai.extra.run.context")
    calls = [called('{"order_id": "7"}', 1), called('{"order_id": "8"}', 2)]
    message = {"type": "message.output", "id": "m", "model": "mistral-test-1", "content": "It is sent."}
    replies = [json_reply({"conversation_id": "c", "outputs": outputs, "usage": SPENT}) for outputs in (calls, [message])]

    @llmtrace.agent
    async def support(url: str) -> str:
        async with contexts.RunContext(model="mistral-test", **context) as around:
            for function in functions:
                around.register_func(function)
            asking = Client(api_key="none", server_url=url).beta.conversations
            return str((await asking.run_async(run_ctx=around, inputs="Where are they?")).output_as_text)

    with Server(*replies) as server:
        assert asyncio.run(support(server.url)) == "It is sent."
    return captured.spans


def look_up(order_id: str) -> dict[str, str]:
    """Look up.

    Args:
        order_id: which.
    """
    if order_id == "8":
        raise LookupError("no such order")
    assert llmtrace.inject()["traceparent"]  # the span of the tool is current in it
    return {"order_id": order_id, "status": "sent"}


async def look_up_later(order_id: str) -> dict[str, str]:
    """Look up."""
    await asyncio.sleep(0)
    return look_up(order_id)


@pytest.mark.parametrize("is_async", [False, True])
def test_functions_of_a_run_are_executions(captured: Captured, is_async: bool) -> None:
    """Joined by call id to the model's calls, which offer them; one that raises has failed, though the model is told of it."""
    function: Any = look_up_later if is_async else look_up
    function.__name__ = "look_up"
    spans = run(captured, function, continue_on_fn_error=True)
    first = next(span.operation for span in spans if isinstance(span.operation, Inference))
    ran = {span.operation.call_id: span for span in spans if isinstance(span.operation, ToolExecution)}
    assert [call.id for call in first.output[0].tool_calls()] == list(ran) == ["call_1", "call_2"]
    good, bad = ran["call_1"].operation, ran["call_2"]
    result = '{"order_id": "7", "status": "sent"}'
    assert good == ToolExecution("look_up", {"order_id": "7"}, result, True, "call_1", definition=first.tools[0])
    assert bad.failure == Failure("tool_error", "no such order")
    assert len({span.run_id for span in spans}) == 1


def test_what_a_function_of_a_run_raises_is_its_failure(captured: Captured) -> None:
    """The SDK's own error goes through to the program."""
    errors = pytest.importorskip("mistralai.extra.exceptions")
    with pytest.raises(errors.RunException):
        run(captured, look_up)
    failures = {span.operation.call_id: span.failure for span in captured.spans if isinstance(span.operation, ToolExecution)}
    assert failures["call_1"] is None
    assert failures["call_2"] is not None
    assert (failures["call_2"].type, failures["call_2"].message) == ("LookupError", "no such order")


def test_a_tool_of_llmtrace_in_a_run_makes_its_span_itself(captured: Captured) -> None:
    """It is recorded once."""

    @llmtrace.tool
    def look_up(order_id: str) -> str:
        """Look up."""
        return f"{order_id}: sent"

    spans = run(captured, look_up)
    ran = [span.operation for span in spans if isinstance(span.operation, ToolExecution)]
    assert [(chunk.call_id, chunk.result) for chunk in ran] == [("call_1", "7: sent"), ("call_2", "8: sent")]


def test_an_entry_in_a_form_of_its_own_is_kept_whole() -> None:
    """Of a kind that is not known, or not as its kind is."""
    assert read_entry({"type": "of_tomorrow", "said": 1}).parts == (Generic("of_tomorrow", {"said": 1}),)
    assert read_entry({"type": "function.call", "id": "a"}).parts == (Generic("function.call", {"id": "a"}),)
    assert read_entry(7).parts == (Generic("message.input", {"value": 7}),)


@STREAMED
def test_there_is_one_span_next_to_the_tracing_of_the_sdk(monkeypatch: pytest.MonkeyPatch, streamed: bool) -> None:
    """Where the SDK traces to the program's own provider, that gets one span a call: ours while llmtrace is on."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    monkeypatch.setenv("MISTRAL_SDK_TELEMETRY", "global")

    def writers() -> list[str]:
        exporter.clear()
        ask(answer("ok"), [chunk("stop", content="ok")], streamed=streamed, **ASK)
        collected.settle()
        return [str(span.instrumentation_scope.name) for span in exporter.get_finished_spans() if span.instrumentation_scope]

    assert writers() == ["mistralai_sdk_tracer"]
    with capture(instrument=("mistral",)):
        assert writers() == ["llmtrace"]
    assert writers() == ["mistralai_sdk_tracer"]
