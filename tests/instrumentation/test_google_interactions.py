"""What is peculiar to Google's Interactions API; what it has in common with others, `contract/` holds."""

from __future__ import annotations

import json
from typing import Any

import pytest
from kit import Reply, json_reply, sse_reply
from server import Server
from spans_of import inference

from llmtrace.instrumentation._google_interactions import StepReader, read_input
from llmtrace.model import (
    Blob,
    Generic,
    Message,
    Reasoning,
    ServerToolCall,
    ServerToolResult,
    Text,
    ToolCall,
    ToolResult,
    Usage,
)
from llmtrace.recorder import collected
from llmtrace.testing import Captured

pytest.importorskip("google.genai.interactions")
genai = pytest.importorskip("google.genai")

INSTRUMENT = ("google_genai",)

MODEL = "gemini-test"


def interaction(*steps: dict[str, Any], **fields: Any) -> dict[str, Any]:
    about = {"id": "v1_1", "object": "interaction", "model": MODEL, "created": "2026-01-01T00:00:00Z"}
    usage = {"total_input_tokens": 10, "total_output_tokens": 5, "total_thought_tokens": 3, "total_tool_use_tokens": 2}
    return {**about, "status": "completed", "steps": list(steps), "usage": usage, **fields}


def output(*content: dict[str, Any]) -> dict[str, Any]:
    return {"type": "model_output", "content": list(content)}


YES = output({"type": "text", "text": "Yes."})


def create(*replies: Reply, raw: bool = False, **options: Any) -> tuple[Any, Server]:
    with Server(*replies) as server:
        client = genai.Client(api_key="none", http_options=genai.types.HttpOptions(base_url=server.url))
        resource = client.interactions.with_raw_response if raw else client.interactions
        result = resource.create(**{"input": "Hi.", **({} if "agent" in options else {"model": MODEL}), **options})
        if options.get("stream"):
            result = list(result.parse() if raw else result)
        client.close()
    collected.settle()
    return result, server


def test_a_request_is_read_from_what_is_sent(captured: Captured) -> None:
    """Instructions, content, earlier steps, parameters by the conventions' names; a server joins our trace."""
    tool = {"type": "function", "name": "look_up", "parameters": {"type": "object", "properties": {}}}
    schema = {"type": "object", "properties": {"eta": {"type": "integer"}}}
    steps = [
        {"type": "user_input", "content": [{"type": "text", "text": "Where?"}, {"type": "image", "data": "QUJD"}]},
        {"type": "function_call", "id": "c", "name": "look_up", "arguments": {"id": 7}},
        {"type": "function_result", "call_id": "c", "name": "look_up", "result": [{"type": "text", "text": "gone"}]},
    ]
    _, server = create(
        json_reply(interaction(YES)),
        input=steps,
        system_instruction="Be brief.",
        previous_interaction_id="v1_0",
        tools=[tool, {"type": "google_search"}],
        generation_config={"max_output_tokens": 9, "temperature": 0.5, "thinking_level": "low"},
        response_format={"type": "text", "mime_type": "application/json", "schema": schema},
    )
    operation = inference(captured)
    assert operation.system == (Text("Be brief."),)
    assert [message.role for message in operation.input] == ["user", "assistant", "tool"]
    assert operation.input[0].parts[0] == Text("Where?")
    assert isinstance(operation.input[0].parts[1], Blob)
    assert [message.parts for message in operation.input[1:]] == [
        (ToolCall("look_up", {"id": 7}, "c"),),
        (ToolResult("gone", "c"),),
    ]
    assert [tool.name for tool in operation.tools] == ["look_up", "google_search"]
    assert operation.parameters == {
        "max_tokens": 9,
        "temperature": 0.5,
        "reasoning.level": "low",
        "response_format": {"type": "json_schema", "json_schema": {"schema": schema}},
    }
    assert (operation.previous_response_id, operation.request_model, operation.provider) == ("v1_0", MODEL, "gcp.gemini")
    assert server.requests[0].headers["traceparent"].split("-")[2] == captured.spans[0].span_id


def test_steps_of_an_answer(captured: Captured) -> None:
    """Thoughts, tools that Google runs, citations, pictures; what is not known is kept whole."""
    cited = [{"type": "url_citation", "url": "http://a", "title": "A"}]
    search = {"type": "google_search_call", "id": "g", "arguments": {"queries": ["q"]}}
    result = {"type": "google_search_result", "call_id": "g", "result": [{"search_suggestions": "s"}]}
    create(
        json_reply(
            interaction(
                {"type": "thought", "summary": [{"type": "text", "text": "Hm."}], "signature": "QUJD"},
                search,
                result,
                output({"type": "text", "text": "Yes.", "annotations": cited}, {"type": "image", "data": "QUJD"}),
                {"type": "of_tomorrow", "said": 1},
            )
        )
    )
    operation = inference(captured)
    thought, search_call, brought, text, citations, picture, unknown = operation.output[0].parts
    assert (thought, text) == (Reasoning("Hm."), Text("Yes."))
    assert search_call == ServerToolCall("google_search", {"type": "google_search", "arguments": {"queries": ["q"]}}, "g")
    assert isinstance(brought, ServerToolResult)
    assert citations == Generic("annotations", {"annotations": cited})
    assert isinstance(picture, Blob)
    assert isinstance(unknown, Generic)
    assert operation.usage == Usage(12, 8, None, None, 3)
    assert (operation.finish_reasons, operation.status, operation.response_id) == (("stop",), "completed", "v1_1")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (["bare"], Message("user", (Text("bare"),))),
        ([{"type": "model_output", "content": "Hello"}], Message("assistant", (Text("Hello"),))),
        ([{"type": "user_input", "content": {"type": "text", "text": "Hi"}}], Message("user", (Text("Hi"),))),
        ([{"type": "user_input", "content": [7, "Hi"]}], Message("user", (Generic("unknown", {"value": 7}), Text("Hi")))),
        ([{"type": "thought", "summary": "Hm."}], Message("assistant", (Reasoning("Hm."),))),
        ([7], Message("user", (Generic("unknown", {"value": 7}),))),
        ([{"said": 1}], Message("user", (Generic("unknown", {"said": 1}),))),
        (
            [{"type": "model_output", "error": "broken"}],
            Message("assistant", (Generic("error", {"value": "broken"}),)),
        ),
    ],
)
def test_nothing_is_lost_of_a_step_in_a_form_of_its_own(value: list[Any], message: Message) -> None:
    assert read_input(value) == (message,)


@pytest.mark.parametrize(
    "begun",
    [
        "Hel",
        [{"type": "text"}, {"type": "text", "text": "Hel"}],
        [{"type": "text", "text": "Hel"}],
        ["Hel"],
        {"type": "text", "text": "Hel"},
    ],
)
def test_a_text_that_a_step_starts_with_goes_on(begun: Any) -> None:
    """One part; the program's own event stays as it is."""
    reader, cited = StepReader(), [{"type": "url_citation", "url": "http://a"}]
    start = {"event_type": "step.start", "index": 0, "step": {"type": "model_output", "content": begun}}
    before = json.dumps(start)
    reader.feed(start)
    reader.feed({"event_type": "step.delta", "index": 0, "delta": {"type": "text", "text": "lo"}})
    reader.feed({"event_type": "step.delta", "index": 0, "delta": {"type": "text_annotation", "annotations": cited}})
    (message,) = reader.fields()["output"]
    assert message.parts == (Text("Hello"), Generic("annotations", {"annotations": cited}))
    assert json.dumps(start) == before


THOUGHTS = [
    {"type": "text", "text": "First "},
    {"type": "text", "text": "a map."},
    {"type": "image", "data": "QUJD", "mime_type": "image/png"},
    {"type": "of_tomorrow", "said": 1},
    {"type": "text", "text": "Then."},
]


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
def test_a_thought_keeps_what_is_no_text(captured: Captured, streamed: bool) -> None:
    """Where it stood: pictures, and what is not known."""
    whole = interaction({"type": "thought", "summary": THOUGHTS}, YES)
    deltas = [
        {"event_type": "step.delta", "index": 0, "delta": {"type": "thought_summary", "content": piece}} for piece in THOUGHTS
    ]
    last = {"event_type": "interaction.completed", "interaction": {"id": "v1_1", "status": "completed", "model": MODEL}}
    start = {"event_type": "step.start", "index": 0, "step": {"type": "thought"}}
    create(sse_reply([start, *deltas, last]) if streamed else json_reply(whole), stream=streamed)
    first, picture, unknown, then = inference(captured).output[0].parts[:4]
    assert first == Reasoning("First a map." if streamed else "First \na map.")
    assert isinstance(picture, Blob)
    assert (picture.modality, picture.mime_type) == ("image", "image/png")
    assert isinstance(unknown, Generic)
    assert "of_tomorrow" in str(unknown)
    assert then == Reasoning("Then.")


def test_one_that_runs_in_the_background_has_not_ended(captured: Captured) -> None:
    """By an agent: no model is named, no finish reason, and that is no empty answer."""
    create(json_reply(interaction(status="in_progress", model=None, usage=None)), agent="deep-research", background=True)
    operation = inference(captured)
    assert (operation.status, operation.finish_reasons, operation.output, operation.request_model) == (
        "in_progress",
        (),
        (),
        None,
    )
    assert operation.parameters == {"agent": "deep-research", "background": True}
    assert captured.spans[0].evaluations == ()


def test_one_that_failed_is_a_failure(captured: Captured) -> None:
    """Though the library raises nothing."""
    create(json_reply(interaction(status="failed", errors=[{"code": "internal", "message": "broken"}])))
    assert inference(captured).finish_reasons == ("error",)
    failure = captured.spans[0].failure
    assert failure is not None
    assert (failure.type, failure.message) == ("server_error", "broken")


EVENTS: list[dict[str, Any]] = [
    {"event_type": "interaction.created", "interaction": {"id": "v1_1", "status": "in_progress", "model": MODEL}},
    {"event_type": "step.start", "index": 0, "step": {"type": "thought"}},
    {"event_type": "step.delta", "index": 0, "delta": {"type": "thought_summary", "content": {"type": "text", "text": "Hm."}}},
    {"event_type": "step.start", "index": 1, "step": {"type": "google_search_call", "id": "g", "arguments": {}}},
    {"event_type": "step.delta", "index": 1, "delta": {"type": "google_search_call", "arguments": {"queries": ["q"]}}},
    {"event_type": "step.start", "index": 2, "step": {"type": "model_output"}},
    {"event_type": "step.delta", "index": 2, "delta": {"type": "text", "text": "Ye"}},
    {"event_type": "step.delta", "index": 2, "delta": {"type": "text", "text": "s."}},
]


@pytest.mark.parametrize("raw", [False, True], ids=["stream", "raw"])
def test_a_stream_is_put_together(captured: Captured, raw: bool) -> None:
    """Step by step, also of one that the program took raw."""
    last = {"event_type": "interaction.completed", "interaction": {"id": "v1_1", "status": "completed", "model": MODEL}}
    create(sse_reply([*EVENTS, last]), stream=True, raw=raw)
    operation = inference(captured)
    search = ServerToolCall("google_search", {"type": "google_search", "arguments": {"queries": ["q"]}}, "g")
    assert operation.output == (Message("assistant", (Reasoning("Hm."), search, Text("Yes.")), finish_reason="stop"),)
    assert (operation.partial, operation.finish_reasons, operation.stream) == (False, ("stop",), True)


def test_an_error_within_a_stream_is_a_failure(captured: Captured) -> None:
    """With what was said until then."""
    create(sse_reply([*EVENTS, {"event_type": "error", "error": {"code": "internal", "message": "broken"}}]), stream=True)
    assert inference(captured).partial
    assert inference(captured).output[0].text() == "Yes."
    failure = captured.spans[0].failure
    assert failure is not None
    assert failure.message == "broken"


def test_a_raw_answer_is_read(captured: Captured) -> None:
    """As the one that the SDK makes of it."""
    answer, _ = create(json_reply(interaction(YES)), raw=True)
    assert json.loads(answer.text())["id"] == "v1_1"
    assert inference(captured).output[0].text() == "Yes."
