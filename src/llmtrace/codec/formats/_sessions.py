"""Creates spans from a session that a coding agent kept on disk: what the formats of such sessions share.

Each prompt of the person is a run: an agent with model calls, tools and compactions of its context. The session is the
conversation. A model call has the messages that are new since the call before it, and names that call's response, unless the
context was compacted between them. Ids are digests of the session's own ids, so that files of one session join, and a file that
is imported again changes nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from llmtrace import semconv as sc
from llmtrace.model import JsonValue, RawSpan, Scope

_SCOPE: Final = "llmtrace.sessions"


def digest(*keys: JsonValue) -> str:
    """Return 32 hexadecimal digits: a trace id, and the first 16 of them a span id."""
    return hashlib.sha256("\n".join(map(str, keys)).encode("utf-8", "replace")).hexdigest()[:32]


@dataclass(slots=True)
class Call:
    """A model call."""

    key: str
    start: int
    end: int
    model: JsonValue
    input: list[dict[str, Any]]
    parts: list[dict[str, Any]] = field(default_factory=list)
    attributes: dict[str, JsonValue] = field(default_factory=dict)
    error: str | None = None


@dataclass(slots=True)
class ToolRun:
    """A tool call that the model asked for, with its result if there is one."""

    key: str
    call_id: str
    name: str
    start: int
    arguments: JsonValue
    end: int | None = None
    result: JsonValue = None
    error: str | None = None
    attributes: dict[str, JsonValue] = field(default_factory=dict)


@dataclass(slots=True)
class Turn:
    """What an agent did with one prompt."""

    trace_id: str
    span_id: str
    start: int
    prompt: str
    parent_id: str | None = None
    calls: list[Call] = field(default_factory=list)
    tools: list[ToolRun] = field(default_factory=list)
    compactions: list[tuple[int, dict[str, JsonValue]]] = field(default_factory=list)
    pending: list[dict[str, Any]] = field(default_factory=list)
    """Messages that no model call has had yet."""
    is_compacted: bool = False
    """True if the context was compacted after the last model call."""
    last: int = 0
    """The time of the last line."""

    def __post_init__(self) -> None:
        self.pending.append(text_message("user", self.prompt))
        self.last = self.start

    def call(self, key: str, time: int, model: JsonValue) -> Call:
        """Return the model call with this key, a new one if it is not the last one."""
        if not self.calls or self.calls[-1].key != key:
            before = self.calls[-1].attributes.get(sc.RESPONSE_ID) if self.calls and not self.is_compacted else None
            attributes = {} if before is None else {sc.REQUEST_PREVIOUS_RESPONSE_ID: before}
            self.calls.append(Call(key, min(self.last, time), time, model, self.pending, attributes=attributes))
            self.pending, self.is_compacted = [], False
        call = self.calls[-1]
        call.end = self.last = max(call.end, time)
        return call

    def compact(self, time: int, values: dict[str, JsonValue]) -> None:
        """Note that the context was replaced by a summary, so that the next model call does not see what came before."""
        self.compactions.append((time, values))
        self.is_compacted, self.last = True, max(self.last, time)

    def ask(self, call: Call, call_id: str, name: str, arguments: JsonValue, time: int) -> ToolRun:
        """Add a tool call that a model asked for."""
        call.parts.append({"type": "tool_call", "id": call_id, "name": name, "arguments": arguments})
        self.tools.append(
            ToolRun(digest(self.span_id, call.key, call_id, len(self.tools))[:16], call_id, name, time, arguments)
        )
        return self.tools[-1]

    def answer(self, call_id: str, time: int, result: JsonValue, error: str | None) -> ToolRun | None:
        """Set the result of the newest tool call with this id that has no result yet. Returns None if there is none."""
        self.last = max(self.last, time)
        tool = next((tool for tool in reversed(self.tools) if tool.call_id == call_id and tool.end is None), None)
        if tool is not None:
            tool.end, tool.result, tool.error = time, result, error
            self.pending.append({"role": "tool", "parts": [{"type": "tool_call_response", "id": call_id, "response": result}]})
        return tool


def text_message(role: str, text: str) -> dict[str, Any]:
    return {"role": role, "parts": [{"type": "text", "content": text}]}


def spans(
    turn: Turn, agent: str, provider: str, session: str, resource: Mapping[str, JsonValue], version: str
) -> Iterator[RawSpan]:
    """Yield the spans of a turn."""
    scope = Scope(_SCOPE, version)

    def span(
        name: str, key: str, start: int, end: int | None, parent: str | None, error: str | None, values: Mapping[str, JsonValue]
    ) -> RawSpan:
        attributes = {sc.CONVERSATION_ID: session, **values}
        return RawSpan(
            turn.trace_id,
            key,
            name,
            start,
            end,
            parent,
            status="unset" if error is None else "error",
            status_message=error or "",
            attributes={name: value for name, value in attributes.items() if value is not None},
            resource=resource,
            scope=scope,
        )

    last = turn.calls[-1] if turn.calls else None
    answer = "" if last is None else "".join(part["content"] for part in last.parts if part["type"] == "text")
    values = {
        sc.OPERATION_NAME: sc.INVOKE_AGENT,
        sc.AGENT_NAME: agent,
        sc.PROVIDER_NAME: provider,
        sc.INPUT_MESSAGES: [text_message("user", turn.prompt)],
        sc.OUTPUT_MESSAGES: [text_message("assistant", answer)] if answer else None,
    }
    yield span(f"invoke_agent {agent}", turn.span_id, turn.start, turn.last, turn.parent_id, None, values)
    for call in turn.calls:
        values = {
            sc.OPERATION_NAME: sc.CHAT,
            sc.PROVIDER_NAME: provider,
            sc.REQUEST_MODEL: call.model,
            sc.INPUT_MESSAGES: call.input,
            sc.OUTPUT_MESSAGES: [{"role": "assistant", "parts": call.parts}] if call.parts else None,
            **call.attributes,
        }
        key = digest(turn.span_id, "call", call.key)[:16]
        yield span(f"chat {call.model}", key, call.start, call.end, turn.span_id, call.error, values)
    for tool in turn.tools:
        values = {
            sc.OPERATION_NAME: sc.EXECUTE_TOOL,
            sc.TOOL_NAME: tool.name,
            sc.TOOL_CALL_ID: tool.call_id,
            sc.TOOL_CALL_ARGUMENTS: tool.arguments,
            sc.TOOL_CALL_RESULT: tool.result,
            **tool.attributes,
        }
        yield span(f"execute_tool {tool.name}", tool.key, tool.start, tool.end, turn.span_id, tool.error, values)
    for number, (time, values) in enumerate(turn.compactions):
        key = digest(turn.span_id, "compaction", number)[:16]
        yield span("compact context", key, time, time, turn.span_id, None, values)
