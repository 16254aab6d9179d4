"""Translates former names of the GenAI conventions, and message events, to today's. Several writers still use them.

A name is changed unless the span also has today's name with another value. Translating a span again changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from llmtrace import semconv as sc
from llmtrace.codec import fields, json_members, json_text, messages, parts
from llmtrace.codec.dialects import _shapes
from llmtrace.codec.dialects._dialect import SpanReader
from llmtrace.codec.json_text import parsed
from llmtrace.codec.messages import read_message
from llmtrace.model import Event, JsonValue, Message

SYSTEM: Final = "gen_ai.system"
FORMER: Final = {
    SYSTEM: sc.PROVIDER_NAME,
    "gen_ai.usage.prompt_tokens": sc.USAGE_INPUT_TOKENS,
    "gen_ai.usage.completion_tokens": sc.USAGE_OUTPUT_TOKENS,
    sc.USAGE_CACHE_CREATION: sc.USAGE_CACHE_WRITE,
    "gen_ai.usage.cache_creation_input_tokens": sc.USAGE_CACHE_WRITE,
    "gen_ai.usage.cache_write_input_tokens": sc.USAGE_CACHE_WRITE,
    "gen_ai.usage.cache_read_input_tokens": sc.USAGE_CACHE_READ,
    "gen_ai.usage.reasoning_tokens": sc.USAGE_REASONING,
    "gen_ai.usage.details.cache_read_tokens": sc.USAGE_CACHE_READ,
    "gen_ai.usage.details.cache_write_tokens": sc.USAGE_CACHE_WRITE,
    "gen_ai.usage.details.reasoning_tokens": sc.USAGE_REASONING,
    "gen_ai.request.is_stream": sc.REQUEST_STREAM,
    "gen_ai.is_streaming": sc.REQUEST_STREAM,
    "llm.is_streaming": sc.REQUEST_STREAM,
    "gen_ai.openai.request.seed": "gen_ai.request.seed",
    "gen_ai.openai.response.system_fingerprint": sc.OPENAI_SYSTEM_FINGERPRINT,
    "gen_ai.response.finish_reason": sc.RESPONSE_FINISH_REASONS,
    "anthropic.message.stop_reason": sc.RESPONSE_FINISH_REASONS,
    "gen_ai.client.operation.time_to_first_chunk": sc.RESPONSE_TIME_TO_FIRST_CHUNK,
    "gen_ai.agent_name": sc.AGENT_NAME,
    "spring.ai.tool.definition.name": sc.TOOL_NAME,
    "spring.ai.tool.definition.description": sc.TOOL_DESCRIPTION,
    "spring.ai.tool.type": sc.TOOL_TYPE,
    "spring.ai.tool.call.id": sc.TOOL_CALL_ID,
    "spring.ai.tool.call.arguments": sc.TOOL_CALL_ARGUMENTS,
    "spring.ai.tool.call.result": sc.TOOL_CALL_RESULT,
    "tool_arguments": sc.TOOL_CALL_ARGUMENTS,
    "tool_response": sc.TOOL_CALL_RESULT,
}
_COUNTS: Final = (sc.USAGE_INPUT_TOKENS, sc.USAGE_OUTPUT_TOKENS, sc.USAGE_CACHE_READ, sc.USAGE_CACHE_WRITE, sc.USAGE_REASONING)
TEXTS: Final = {"gen_ai.prompt": (sc.INPUT_MESSAGES, "user"), "gen_ai.completion": (sc.OUTPUT_MESSAGES, "assistant")}
"""Attributes that hold the prompt or the answer as one text or as a list of messages."""
_SCHEMAS: Final = ("gen_ai.tool.json_schema", "gen_ai.tool.parameters", "spring.ai.tool.definition.schema")
_ROLES: Final = {
    "gen_ai.system.message": "system",
    "gen_ai.user.message": "user",
    "gen_ai.assistant.message": "assistant",
    "gen_ai.tool.message": "tool",
}
_CHOICE: Final = "gen_ai.choice"
_DETAILS: Final = "gen_ai.client.inference.operation.details"
_TEXT_EVENTS: Final = {"gen_ai.content.prompt": "gen_ai.prompt", "gen_ai.content.completion": "gen_ai.completion"}
EVENTS: Final = frozenset({*_ROLES, _CHOICE, _DETAILS, *_TEXT_EVENTS})
"""Events that hold messages, or arguments and result of a tool."""


def use_current_names(reader: SpanReader) -> None:
    """Rename attributes with former names to today's, and turn message events into attributes."""
    reader.rename(FORMER)
    rest = reader.rest
    reasons = fields.as_texts(rest.get(sc.RESPONSE_FINISH_REASONS))
    if reasons:
        rest[sc.RESPONSE_FINISH_REASONS] = list(reasons)
    for key in _COUNTS:
        count = reader.count(key)
        if count is not None:
            rest[key] = count
    # a total that is not the sum stays as an attribute
    total = fields.as_count(rest.get("gen_ai.usage.total_tokens"))
    counts = (rest.get(sc.USAGE_INPUT_TOKENS), rest.get(sc.USAGE_OUTPUT_TOKENS))
    if total is not None and total == sum(count for count in counts if isinstance(count, int)):
        reader.drop("gen_ai.usage.total_tokens")
    _read_tool_definition(reader)
    for key, (name, role) in TEXTS.items():
        if key in rest and name not in rest:
            rest[name] = messages.write_messages(_read_content_event(rest.pop(key), role))
    if any(event.name in EVENTS for event in reader.events):
        (_read_tool_events if rest.get(sc.OPERATION_NAME) == sc.EXECUTE_TOOL else _read_event_messages)(reader)


def _read_tool_definition(reader: SpanReader) -> None:
    """Turn the schema on a tool execution into the tool's definition."""
    name, rest = reader.rest.get(sc.TOOL_NAME), reader.rest
    if not isinstance(name, str) or sc.TOOL_DEFINITIONS in rest:
        return
    for key in _SCHEMAS:
        schema = _shapes.schema_of(parsed(rest.get(key)))
        if schema is not None:
            tool: dict[str, JsonValue] = {"type": "function", "name": name, "parameters": schema}
            if isinstance(rest.get(sc.TOOL_DESCRIPTION), str):
                tool["description"] = rest[sc.TOOL_DESCRIPTION]
            rest[sc.TOOL_DEFINITIONS] = json_text.write([tool])
            del rest[key]
            return


# -- messages in events


def _read_event_messages(reader: SpanReader) -> None:
    """Move messages from the span's events to attributes, in the order of the events. Existing attributes stay as they are."""
    new: dict[str, list[Message]] = {sc.INPUT_MESSAGES: [], sc.OUTPUT_MESSAGES: []}
    other_events: list[Event] = []
    for event in reader.events:
        attributes = event.attributes
        if event.name in _ROLES:
            new[sc.INPUT_MESSAGES].append(_message(attributes, _ROLES[event.name]))
        elif event.name == _CHOICE:
            new[sc.OUTPUT_MESSAGES].append(_choice(attributes))
        elif event.name == _DETAILS:
            for key in (sc.SYSTEM_INSTRUCTIONS, sc.INPUT_MESSAGES, sc.OUTPUT_MESSAGES, sc.TOOL_DEFINITIONS):
                if key in attributes:
                    reader.rest.setdefault(key, attributes[key])
        elif event.name in _TEXT_EVENTS:
            name = _TEXT_EVENTS[event.name]
            key, role = TEXTS[name]
            new[key] += _read_content_event(attributes.get(name), role)
        else:
            other_events.append(event)
    for key, new_messages in new.items():
        if new_messages:
            reader.rest.setdefault(key, messages.write_messages(new_messages))
    reader.events[:] = other_events


def _read_content_event(content: JsonValue, role: str) -> tuple[Message, ...]:
    items = parsed(content)
    return _shapes.of_items(items, role) if isinstance(items, list) else _shapes.of_text(role, content)


def message_of(attributes: Mapping[str, JsonValue]) -> Message:
    """Read a message from an event that was written as an item of a list, with its name in ``event.name``."""
    name = attributes.get("event.name")
    if name == _CHOICE:
        return _choice(attributes)
    body = {key: value for key, value in attributes.items() if not key.startswith(("event.", "gen_ai.message"))}
    return _message(body, _ROLES.get(name, "user") if isinstance(name, str) else "user")


def _body(attributes: Mapping[str, JsonValue]) -> dict[str, Any]:
    item: dict[str, Any] = {key: parsed(value) for key, value in attributes.items()}
    body = item.get("gen_ai.event.content")  # some writers put the whole body here, as JSON text
    return dict(body) if isinstance(body, Mapping) else item


def _message(attributes: Mapping[str, JsonValue], role: str) -> Message:
    item = _body(attributes)
    if role == "tool" and isinstance(item.get("id"), str):
        item.setdefault("tool_call_id", item.pop("id"))
    item.setdefault("role", role)
    return read_message(item, role)


def _choice(attributes: Mapping[str, JsonValue]) -> Message:
    item = _body(attributes)
    content = item.get("message", item.get("content"))
    if not isinstance(content, Mapping):
        content = {"content": content if content is None or isinstance(content, list) else str(content)}
    calls = json_members.items(content, "tool_calls") or item.get("tool_calls")
    reason = attributes.get("finish_reason") or content.get("finish_reason")
    return read_message({"role": "assistant", **content, "tool_calls": calls, "finish_reason": reason}, "assistant")


def _read_tool_events(reader: SpanReader) -> None:
    """Move a tool execution's arguments and result from its events (a tool message and a choice) to attributes."""
    other_events = []
    for event in reader.events:
        key, content = "", None
        if event.name == "gen_ai.tool.message":
            key, content = sc.TOOL_CALL_ARGUMENTS, event.attributes.get("content")
        elif event.name == _CHOICE:
            key, content = sc.TOOL_CALL_RESULT, parts.unwrap(parsed(event.attributes.get("message")))
        elif event.name == _DETAILS:
            for name in (sc.TOOL_CALL_ARGUMENTS, sc.TOOL_CALL_RESULT):
                if name in event.attributes:
                    reader.rest.setdefault(name, event.attributes[name])
            continue
        if key and content is not None and key not in reader.rest:
            reader.rest[key] = content if isinstance(content, str) else json_text.write(content)
            call_id = event.attributes.get("id")
            if isinstance(call_id, str):
                reader.rest.setdefault(sc.TOOL_CALL_ID, call_id)
        else:
            other_events.append(event)
    reader.events[:] = other_events
