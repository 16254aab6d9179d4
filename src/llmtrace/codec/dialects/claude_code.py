"""Claude Code: its spans (beta), and the spans that `codec.claude_code_events` makes of its log records.

Known by the names ``claude_code.*``. Model calls and tools have the conventions' names and also the program's own, which are
dropped if they have the same values. A turn is an agent; its answer comes with the log record ``assistant_response``.
"""

from __future__ import annotations

from typing import Final

from llmtrace import semconv as sc
from llmtrace.codec import claude_code_events, fields
from llmtrace.codec.dialects._dialect import Dialect, SpanReader
from llmtrace.model import AgentInvocation, Custom, Event, JsonValue, Message, Operation, RawSpan, Text

AGENT: Final = "Claude Code"
_KIND: Final = "span.type"
_KINDS: Final = ("interaction", "llm_request", "tool", "tool.blocked_on_user", "tool.execution", "hook")
_RESULT, _REQUEST = "claude_code.tool_result", "claude_code.api_request"
_TOLD: Final = ("claude_code.user_prompt", _REQUEST, "claude_code.assistant_response", _RESULT)
"""Events that repeat their spans."""
_COPIES: Final = {
    "gen_ai.system": sc.PROVIDER_NAME,
    "model": sc.REQUEST_MODEL,
    "output_tokens": sc.USAGE_OUTPUT_TOKENS,
    "cache_read_tokens": sc.USAGE_CACHE_READ,
    "cache_creation_tokens": sc.USAGE_CACHE_WRITE,
    "request_id": sc.RESPONSE_ID,
    "session.id": sc.CONVERSATION_ID,
    "tool_name": sc.TOOL_NAME,
    "tool_name_safe": sc.TOOL_NAME,
    "tool_use_id": sc.TOOL_CALL_ID,
}


class ClaudeCode(Dialect):
    name = "claude_code"
    marks = frozenset(f"claude_code.{kind}" for kind in _KINDS)

    def knows(self, raw: RawSpan) -> bool:
        return raw.name in self.marks and _KIND in raw.attributes

    def read(self, reader: SpanReader) -> Operation | None:
        kind = reader.rest.get(_KIND)
        reader.rename(_COPIES)
        if kind == "interaction":
            asked, answered = reader.text("user_prompt"), _answer(reader)
            return AgentInvocation(AGENT, input=_said("user", asked), output=_said("assistant", answered))
        if kind == "llm_request":
            reader.drop("input_tokens")  # excludes cached tokens, which the conventions include
            milliseconds = reader.seconds("ttft_ms")
            if milliseconds is not None:
                reader.rest[sc.RESPONSE_TIME_TO_FIRST_CHUNK] = milliseconds / 1000
            _add(reader, sc.OUTPUT_MESSAGES, claude_code_events.answer_of(reader.events))
            for record in _told(reader):
                if record.name == _REQUEST:
                    _add(reader, sc.COST_USD, fields.as_amount(record.attributes.get("cost_usd")))
            return None
        if kind == "tool":
            _read_output(reader)
            for record in _told(reader):
                _add(reader, sc.TOOL_CALL_ARGUMENTS, fields.as_object(record.attributes.get("tool_input")))
            return None
        return Custom()


def _said(role: str, text: str | None) -> tuple[Message, ...]:
    return () if text is None or text == claude_code_events.REDACTED else (Message(role, (Text(text),)),)


def _answer(reader: SpanReader) -> str | None:
    """Return the text of the turn's last answer, from its event, and remove the events that repeat the spans."""
    answers = [event.attributes.get("response") for event in reader.events if event.name == "claude_code.assistant_response"]
    _told(reader)
    return fields.as_text(answers[-1]) if answers else None


def _told(reader: SpanReader) -> list[Event]:
    """Remove and return the log records that repeat the span or complete it."""
    told = [event for event in reader.events if event.name in _TOLD]
    reader.events = [event for event in reader.events if event.name not in _TOLD]
    return told


def _add(reader: SpanReader, name: str, value: JsonValue) -> None:
    if value is not None:
        reader.rest.setdefault(name, value)


def _read_output(reader: SpanReader) -> None:
    """Move the tool's result from its event, which also has some of the arguments, to an attribute."""
    for event in [event for event in reader.events if event.name == "tool.output"]:
        shown = event.attributes
        reader.rest[sc.TOOL_CALL_RESULT] = shown.get("output", shown.get("content", dict(shown)))
        reader.events.remove(event)


DIALECT = ClaudeCode()
