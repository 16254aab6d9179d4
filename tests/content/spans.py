"""Spans that hold a given text in every place where content can be."""

from __future__ import annotations

from typing import Any

from llmtrace import semconv
from llmtrace.model import (
    OUTCOME,
    AgentInvocation,
    Blob,
    Compaction,
    Custom,
    Evaluation,
    Event,
    Failure,
    FetchResponse,
    Generic,
    Inference,
    Link,
    Memory,
    Message,
    Operation,
    Part,
    Reasoning,
    Retrieval,
    ServerToolCall,
    ServerToolResult,
    Span,
    Text,
    ToolCall,
    ToolDefinition,
    ToolExecution,
    ToolResult,
    Uri,
    Violation,
    Workflow,
)


def values(word: str) -> dict[str, Any]:
    """A JSON object with ``word`` in a text, a list, a name, and JSON in a text."""
    return {"said": f"so {word} it is", "deep": [{"list": [word]}], f"key {word}": 1, "json": '{"a": "' + word + '"}', "n": 5}


def parts(word: str) -> tuple[Part, ...]:
    return (
        Text(f"hello {word}"),
        Reasoning(f"think {word}"),
        ToolCall("look_up", values(word), "call_1"),
        ToolCall("look_up", f'{{"broken": "{word}"', "call_2"),
        ToolResult(f"it is {word}", "call_1"),
        ToolResult(values(word), "call_2"),
        Blob("image", "image/png", "aGVsbG8="),
        Uri(f"https://example.org/{word}", "image"),
        Uri(f"data:text/plain;base64,{word}", "image"),
        ServerToolCall("web_search", values(word), "s1"),
        ServerToolResult(values(word), "s1"),
        Compaction(f"summary {word}"),
        Generic("refusal", values(word)),
    )


def messages(word: str) -> tuple[Message, ...]:
    return tuple(Message(role, parts(word), cache={}) for role in ("system", "user", "assistant", "tool"))


def definition(word: str) -> ToolDefinition:
    schema = {"type": "object", "description": word, "properties": {"x": {"type": "string", "default": word, "enum": [word]}}}
    return ToolDefinition("look_up", schema, f"does {word}", output={"description": word}, cache={})


def operations(word: str) -> list[Operation]:
    return [
        Inference(
            "openai",
            request_model="gpt-4o",
            system=parts(word),
            input=messages(word),
            output=messages(word),
            tools=(definition(word),),
            parameters={"temperature": 0.5, "stop_sequences": [word], "response_format": values(word), "user": word},
        ),
        ToolExecution("look_up", values(word), values(word), True, "call_1", definition(word), repaired=values(word)),
        ToolExecution("look_up", f"raw {word}", word, True, "call_1"),
        AgentInvocation("support", None, messages(word), messages(word)),
        Workflow("support", messages(word), messages(word)),
        Retrieval("docs", f"query {word}", [values(word)]),
        Memory("search_memory", "store", "record", f"query {word}", [values(word)]),
        FetchResponse("openai", "r1", output=messages(word)),
        Custom(values(word), values(word), True),
    ]


def full_span(operation: Operation, word: str, *, content_attributes: bool = True) -> Span:
    """A span of this operation with ``word`` in whatever else of it can hold content."""
    content = dict.fromkeys(semconv.CONTENT, f"[{word}]") | {name + ".0.x": word for name in semconv.FOREIGN_CONTENT}
    attributes: dict[str, Any] = {"tenant": "blue"} | (content if content_attributes else {"note": f"note {word}"})
    return Span(
        "0" * 32,
        "1" * 16,
        "step",
        1,
        2,
        operation=operation,
        run_id="2" * 32,
        failure=Failure("ValueError", f"bad {word}", f"Traceback …\n{word}"),
        violations=(
            Violation("wrong_type", "/a/0", "type", "is not a number", "number", values(word), tool="look_up"),
            Violation("unexpected", f"/a/{word}", "additionalProperties", "is not expected", None, word),
            Violation("unknown_tool", "", "", "no such tool", None, word, tool=f"tool {word}"),
        ),
        evaluations=(
            Evaluation("made_up", "warning", "was never said", evidence={"value": word, "near": [word]}, pointer="/a"),
            Evaluation("other", "warning", "was never said", pointer=f"/a/{word} b"),
            Evaluation(OUTCOME, "error", f"because {word}", label="failure"),
        ),
        attributes=attributes,
        events=(
            Event("exception", 1, {semconv.EXCEPTION_MESSAGE: word, semconv.EXCEPTION_STACKTRACE: word}),
            Event("gen_ai.user.message", 1, {"content": word, "index": 0}),
            Event("step", 1, attributes),
        ),
        links=(Link("3" * 32, "4" * 16, attributes),),
        resource={"service.name": "shop"} | ({} if content_attributes else {"process.command_args": ["x", word]}),
    )
