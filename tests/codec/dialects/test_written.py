"""What no recording here has: spans as documentation and source of other instrumentations write them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llmtrace import semconv as sc
from llmtrace.codec.dialects import decode
from llmtrace.model import (
    AgentInvocation,
    Custom,
    Embedding,
    Event,
    Inference,
    Message,
    Operation,
    RawSpan,
    Reasoning,
    Retrieval,
    Scope,
    Text,
    ToolCall,
    ToolDefinition,
    ToolExecution,
    ToolResult,
    Usage,
    replace,
)
from tests.codec.dialects.reading import SCHEMA, execution, inference, read

ASKED = ToolCall("look_up", {"order_id": "KS-1"}, "call_1")


def operation(attributes: dict[str, Any], **fields: Any) -> Operation:
    return read(attributes, **fields).operation


# -- Vercel AI SDK


def test_vercel_model_call() -> None:
    """``doGenerate`` is the model call: messages, tools, calls, usage, settings."""
    span = read(
        {
            "operation.name": "ai.generateText.doGenerate",
            "ai.operationId": "ai.generateText.doGenerate",
            "ai.model.provider": "openai.chat",
            "ai.model.id": "gpt-4o",
            "ai.prompt.messages": json.dumps(
                [
                    {"role": "system", "content": "Be brief."},
                    {"role": "user", "content": [{"type": "text", "text": "Where is KS-1?"}]},
                    {
                        "role": "assistant",
                        "content": [
                            {"type": "tool-call", "toolCallId": "c0", "toolName": "look_up", "input": {"order_id": "KS-0"}}
                        ],
                    },
                    {
                        "role": "tool",
                        "content": [
                            {
                                "type": "tool-result",
                                "toolCallId": "c0",
                                "toolName": "look_up",
                                "output": {"type": "json", "value": {"status": "lost"}},
                            }
                        ],
                    },
                ]
            ),
            "ai.prompt.tools": [json.dumps({"type": "function", "name": "look_up", "inputSchema": SCHEMA})],
            "ai.prompt.toolChoice": '{"type":"auto"}',
            "ai.settings.maxRetries": 2,
            "ai.response.toolCalls": json.dumps(
                [{"toolCallId": "call_1", "toolName": "look_up", "input": '{"order_id":"KS-1"}'}]
            ),
            "ai.response.finishReason": "tool-calls",
            "ai.usage.promptTokens": 10,
            "ai.usage.completionTokens": 3,
            "gen_ai.system": "openai.chat",
            "gen_ai.request.model": "gpt-4o",
            "gen_ai.request.temperature": 0.5,
            "gen_ai.response.finish_reasons": ["tool-calls"],
            "gen_ai.response.id": "r1",
            "gen_ai.response.model": "gpt-4o-2024",
            "gen_ai.usage.input_tokens": 10,
            "gen_ai.usage.output_tokens": 3,
            "ai.telemetry.metadata.sessionId": "s1",
        }
    )
    assert span.operation == Inference(
        "openai",
        request_model="gpt-4o",
        response_model="gpt-4o-2024",
        response_id="r1",
        input=(
            Message("system", (Text("Be brief."),)),
            Message("user", (Text("Where is KS-1?"),)),
            Message("assistant", (ToolCall("look_up", {"order_id": "KS-0"}, "c0"),)),
            Message("tool", (ToolResult({"status": "lost"}, "c0"),)),
        ),
        output=(Message("assistant", (ASKED,)),),
        tools=(ToolDefinition("look_up", SCHEMA),),
        parameters={"temperature": 0.5, "tool_choice": {"type": "auto"}},
        finish_reasons=("tool_call",),
        usage=Usage(10, 3),
    )
    assert span.attributes == {
        "ai.settings.maxRetries": 2,
        sc.CONVERSATION_ID: "s1",
        sc.RESPONSE_FINISH_REASONS: ["tool-calls"],
    }


def test_vercel_outer_span_is_the_agent() -> None:
    """The loop around the model calls; its usage, their sum, is not counted again."""
    span = read(
        {
            "ai.operationId": "ai.streamText",
            "ai.telemetry.functionId": "support",
            "ai.prompt": json.dumps({"system": "Be brief.", "prompt": "Where is KS-1?"}),
            "ai.response.text": "On its way.",
            "ai.usage.promptTokens": 20,
        }
    )
    assert span.operation == AgentInvocation(
        "support",
        input=(Message("system", (Text("Be brief."),)), Message("user", (Text("Where is KS-1?"),))),
        output=(Message("assistant", (Text("On its way."),)),),
    )
    assert span.attributes == {"ai.usage.promptTokens": 20}


def test_vercel_stream_tool_and_embedding() -> None:
    """A stream has its time to the first chunk, in seconds; a tool its result without the quotes of JSON."""
    found = inference({"ai.operationId": "ai.streamText.doStream", "ai.response.msToFirstChunk": 250.0})
    assert (found.stream, found.time_to_first_chunk) == (True, 0.25)
    assert operation(
        {
            "ai.operationId": "ai.toolCall",
            "ai.toolCall.name": "look_up",
            "ai.toolCall.id": "call_1",
            "ai.toolCall.args": '{"order_id":"KS-1"}',
            "ai.toolCall.result": '"on its way"',
        }
    ) == ToolExecution("look_up", {"order_id": "KS-1"}, "on its way", has_result=True, call_id="call_1")
    assert operation(
        {"ai.operationId": "ai.embed.doEmbed", "ai.model.id": "small", "ai.model.provider": "openai.x", "ai.usage.tokens": 4}
    ) == Embedding("openai", request_model="small", usage=Usage(4))


# -- vLLM


def test_vllm_request() -> None:
    """The engine's span by itself is the inference; its waiting times stay attributes."""
    span = read(
        {
            "gen_ai.request.id": "chatcmpl-1",
            "gen_ai.request.max_tokens": 8,
            "gen_ai.request.n": 1,
            "gen_ai.usage.prompt_tokens": 11,
            "gen_ai.usage.completion_tokens": 7,
            "gen_ai.latency.time_to_first_token": 0.02,
            "gen_ai.latency.time_in_queue": 0.01,
            "gen_ai.latency.time_in_model_decode": 0.06,
            "gen_ai.latency.e2e": 0.1,
        },
        name="llm_request",
        kind="server",
        scope=Scope("vllm.tracing.otel"),
    )
    assert span.operation == Inference(
        "vllm",
        response_id="chatcmpl-1",
        parameters={"max_tokens": 8, "choice.count": 1},
        usage=Usage(11, 7),
        time_to_first_chunk=0.02,
    )
    assert span.attributes == {
        "gen_ai.latency.e2e": 0.1,
        sc.ENGINE_QUEUE: 0.01,
        sc.ENGINE_DECODE: 0.06,
        sc.ENGINE_FIRST_TOKEN: 0.02,
        sc.ENGINE_PER_TOKEN: pytest.approx(0.01),
    }


@pytest.mark.parametrize("parent", [None, "7" * 16])
def test_vllm_request_that_lost_its_trace(parent: str | None) -> None:
    """The id that we gave the request says below which of our spans it belongs; where it was is kept as a link."""
    ours = ("a" * 32, "b" * 16)
    raw = RawSpan(
        "9" * 32,
        "8" * 16,
        "llm_request",
        1,
        2,
        parent,
        "server",
        attributes={"gen_ai.request.id": f"chatcmpl-llmtrace-{ours[0]}-{ours[1]}"},
        scope=Scope("vllm.tracing.otel"),
    )
    span = decode(raw)
    assert (span.trace_id, span.parent_id, span.span_id) == (*ours, "8" * 16)
    assert [(link.trace_id, link.span_id) for link in span.links] == ([] if parent is None else [("9" * 32, parent)])
    at_home = replace(raw, trace_id=ours[0], parent_id=ours[1])
    assert decode(at_home).links == ()


# -- OpenLLMetry as it was


def test_flattened_model_call() -> None:
    """Numbered prompts, completions and functions."""
    span = read(
        {
            "llm.request.type": "chat",
            "gen_ai.system": "OpenAI",
            "gen_ai.request.model": "gpt-4o",
            "gen_ai.request.temperature": 0.5,
            "gen_ai.prompt.0.role": "user",
            "gen_ai.prompt.0.content": "Where is KS-1?",
            "gen_ai.prompt.1.role": "assistant",
            "gen_ai.prompt.1.tool_calls.0.id": "c0",
            "gen_ai.prompt.1.tool_calls.0.name": "look_up",
            "gen_ai.prompt.1.tool_calls.0.arguments": '{"order_id": "KS-0"}',
            "gen_ai.prompt.2.role": "tool",
            "gen_ai.prompt.2.content": "lost",
            "gen_ai.prompt.2.tool_call_id": "c0",
            "gen_ai.completion.0.role": "assistant",
            "gen_ai.completion.0.finish_reason": "tool_calls",
            "gen_ai.completion.0.tool_calls.0.id": "call_1",
            "gen_ai.completion.0.tool_calls.0.name": "look_up",
            "gen_ai.completion.0.tool_calls.0.arguments": '{"order_id": "KS-1"}',
            "llm.request.functions.0.name": "look_up",
            "llm.request.functions.0.description": "Look up.",
            "llm.request.functions.0.parameters": json.dumps(SCHEMA),
            "gen_ai.usage.prompt_tokens": 10,
            "gen_ai.usage.completion_tokens": 3,
            "llm.usage.total_tokens": 13,
            "traceloop.association.properties.session_id": "s1",
        },
        name="openai.chat",
    )
    assert span.operation == Inference(
        "openai",
        request_model="gpt-4o",
        input=(
            Message("user", (Text("Where is KS-1?"),)),
            Message("assistant", (ToolCall("look_up", {"order_id": "KS-0"}, "c0"),)),
            Message("tool", (ToolResult("lost", "c0"),)),
        ),
        output=(Message("assistant", (ASKED,), finish_reason="tool_call"),),
        tools=(ToolDefinition("look_up", SCHEMA, "Look up."),),
        parameters={"temperature": 0.5},
        finish_reasons=("tool_call",),
        usage=Usage(10, 3),
    )
    assert span.attributes == {
        "llm.usage.total_tokens": 13,
        sc.CONVERSATION_ID: "s1",
        sc.RESPONSE_FINISH_REASONS: ["tool_calls"],
    }


def test_a_tool_by_langchains_callback() -> None:
    """Its inputs are the arguments, not the envelope around them."""
    assert operation(
        {
            "traceloop.span.kind": "tool",
            "traceloop.entity.name": "look_up",
            "traceloop.entity.input": json.dumps({"input_str": "{'order_id': 'KS-1'}", "tags": [], "kwargs": {}}),
            "traceloop.entity.output": json.dumps({"output": "lost", "kwargs": {}}),
        }
    ) == ToolExecution("look_up", {"order_id": "KS-1"}, "lost", has_result=True)


def test_a_task_is_a_step() -> None:
    assert operation(
        {"traceloop.span.kind": "task", "traceloop.entity.input": "[1]", "traceloop.entity.output": '"x"'}
    ) == Custom([1], "x", has_result=True)


# -- the official conventions as they were


def test_messages_in_events() -> None:
    """``gen_ai.user.message`` and ``gen_ai.choice``, with bodies as members or as JSON text."""
    events = (
        Event("gen_ai.system.message", 1, {"content": "Be brief."}),
        Event("gen_ai.user.message", 1, {"gen_ai.event.content": '{"content": "Where is KS-1?"}'}),
        Event("gen_ai.tool.message", 1, {"id": "c0", "content": "lost"}),
        Event(
            "gen_ai.choice",
            2,
            {
                "index": 0,
                "finish_reason": "tool_calls",
                "message": json.dumps(
                    {"tool_calls": [{"id": "call_1", "function": {"name": "look_up", "arguments": '{"order_id": "KS-1"}'}}]}
                ),
            },
        ),
        Event("something else", 2, {}),
    )
    attributes = {
        "gen_ai.system": "openai",
        "gen_ai.operation.name": "chat",
        "gen_ai.usage.prompt_tokens": 10,
        "gen_ai.usage.cache_creation.input_tokens": 4,
    }
    span = read(attributes, events=events)
    assert span.operation == Inference(
        "openai",
        input=(
            Message("system", (Text("Be brief."),)),
            Message("user", (Text("Where is KS-1?"),)),
            Message("tool", (ToolResult("lost", "c0"),)),
        ),
        output=(Message("assistant", (ASKED,), finish_reason="tool_call"),),
        usage=Usage(10, cache_write_input_tokens=4),
    )
    assert [event.name for event in span.events] == ["something else"]


def test_prompt_and_completion_events() -> None:
    """The oldest form: whole lists as JSON text."""
    span = read(
        {"gen_ai.system": "openai", "gen_ai.request.model": "m"},
        events=(
            Event("gen_ai.content.prompt", 1, {"gen_ai.prompt": '[{"role": "user", "content": "Hi"}]'}),
            Event("gen_ai.content.completion", 1, {"gen_ai.completion": '[{"role": "assistant", "content": "Hello"}]'}),
        ),
    )
    assert span.operation == Inference(
        "openai",
        request_model="m",
        input=(Message("user", (Text("Hi"),)),),
        output=(Message("assistant", (Text("Hello"),)),),
    )


def test_operation_details_event() -> None:
    """What today's event says is the inference's, where the attributes do not say it."""
    held = {sc.INPUT_MESSAGES: '[{"role":"user","parts":[{"type":"text","content":"Hi"}]}]', sc.SYSTEM_INSTRUCTIONS: "[]"}
    found = inference({sc.OPERATION_NAME: "chat"}, events=(Event("gen_ai.client.inference.operation.details", 1, held),))
    assert found.input == (Message("user", (Text("Hi"),)),)


def test_two_names_that_differ_are_both_kept() -> None:
    """A former name is given up only where today's says the same."""
    span = read({sc.OPERATION_NAME: "chat", "gen_ai.system": "az.ai.openai", sc.PROVIDER_NAME: "azure.ai.openai"})
    assert span.attributes == {"gen_ai.system": "az.ai.openai"}


# -- OpenInference, what no recording has


def test_numbers_as_text() -> None:
    """Some stores keep every attribute as text."""
    found = inference(
        {
            "openinference.span.kind": "LLM",
            "llm.model_name": "m",
            "llm.token_count.prompt": "21",
            "llm.token_count.completion": "5",
            "llm.token_count.total": "26",
            "llm.token_count.prompt_details.audio": "7",
            "llm.token_count.completion_details.audio": "0",
        }
    )
    assert found.usage == Usage(21, 5, audio_input_tokens=7)


def test_contents_of_several_parts() -> None:
    """Text, image and reasoning of one message; a legacy function call."""
    prefix = "llm.input_messages.0.message."
    found = inference(
        {
            "openinference.span.kind": "LLM",
            prefix + "role": "user",
            prefix + "contents.0.message_content.type": "text",
            prefix + "contents.0.message_content.text": "Look",
            prefix + "contents.1.message_content.type": "image",
            prefix + "contents.1.message_content.image.image.url": "https://example.org/a.png",
            prefix + "contents.2.message_content.type": "reasoning",
            prefix + "contents.2.message_content.text": "Hm",
            "llm.output_messages.0.message.role": "assistant",
            "llm.output_messages.0.message.function_call_name": "look_up",
            "llm.output_messages.0.message.function_call_arguments_json": '{"order_id": "KS-1"}',
        }
    )
    text, image, thought = found.input[0].parts
    assert (text, thought) == (Text("Look"), Reasoning("Hm"))
    assert image.uri == "https://example.org/a.png"  # type: ignore[union-attr]
    assert found.output[0].tool_calls() == (ToolCall("look_up", {"order_id": "KS-1"}),)


def test_a_retriever() -> None:
    assert operation(
        {
            "openinference.span.kind": "RETRIEVER",
            "input.value": "kettles",
            "retrieval.documents.0.document.content": "A kettle.",
            "retrieval.documents.0.document.id": "d1",
            "retrieval.documents.0.document.score": 0.5,
        }
    ) == Retrieval(query="kettles", documents=[{"content": "A kettle.", "id": "d1", "score": 0.5}])


def test_an_embedding() -> None:
    assert operation(
        {"openinference.span.kind": "EMBEDDING", "embedding.model_name": "small", "llm.token_count.prompt": 3}
    ) == Embedding("", request_model="small", response_model="small", usage=Usage(3))


def test_other_kinds_are_steps_that_keep_their_kind() -> None:
    for kind in ("RERANKER", "GUARDRAIL", "EVALUATOR", "PROMPT", "UNHEARD_OF"):
        span = read({"openinference.span.kind": kind, "input.value": '{"a": 1}', "output.value": "yes"})
        assert span.operation == Custom({"a": 1}, "yes", has_result=True)
        assert span.attributes == {"openinference.span.kind": kind}


def test_positional_arguments_get_their_names() -> None:
    """By the order in which the tool's parameters were written; a nullable one may be left out."""
    found = execution(
        {
            "openinference.span.kind": "TOOL",
            "tool.name": "look_up",
            "tool.parameters": json.dumps(
                {"order_id": {"type": "string"}, "year": {"type": "integer", "nullable": True}, "any": {"type": "any"}}
            ),
            "input.value": json.dumps({"args": ["KS-1"], "kwargs": {"any": 2}, "sanitize_inputs_outputs": True}),
        }
    )
    assert found.arguments == {"order_id": "KS-1", "any": 2}
    assert found.definition is not None
    assert found.definition.parameters == {
        "type": "object",
        "properties": {"order_id": {"type": "string"}, "year": {"type": ["integer", "null"]}, "any": {}},
        "required": ["order_id", "any"],
    }


def test_arguments_that_stand_where_the_schema_should() -> None:
    """Some instrumentors put the arguments into ``tool.parameters``."""
    found = operation({"openinference.span.kind": "TOOL", "tool.name": "look_up", "tool.parameters": '{"order_id": "KS-1"}'})
    assert found == ToolExecution("look_up", {"order_id": "KS-1"})


def test_both_conventions_on_one_span() -> None:
    """OpenInference can write the official names too: one inference, and each fills what the other lacks."""
    found = read(
        {
            "openinference.span.kind": "LLM",
            "llm.model_name": "m",
            sc.OPERATION_NAME: "chat",
            sc.PROVIDER_NAME: "openai",
            sc.USAGE_INPUT_TOKENS: 3,
            sc.RESPONSE_ID: "r1",
        }
    )
    assert found.operation == Inference("openai", request_model="m", response_model="m", response_id="r1", usage=Usage(3))
    assert found.attributes == {}


def test_what_is_not_understood_stays() -> None:
    """Attributes with names nobody knows, and values that do not fit, are still there."""
    held = {"openinference.span.kind": "LLM", "mine": 1, "llm.token_count.prompt": "many", "llm.tools.0.tool.json_schema": 5}
    assert read(held).attributes.keys() == held.keys() - {"openinference.span.kind"}
