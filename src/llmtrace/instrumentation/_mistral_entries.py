"""Converts the entries of Mistral's conversations, of a request or an answer (dicts or the SDK's models), to messages.

Law: nothing raises and nothing is lost. An entry or content of an unknown kind is kept whole. An answer is one message with all
its entries in order; a request's input has one message for each entry.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from llmtrace import semconv
from llmtrace.content import to_json
from llmtrace.instrumentation._failures import failure_reported
from llmtrace.instrumentation._openai_messages import arguments, details, read_part
from llmtrace.instrumentation._provider import Fields
from llmtrace.instrumentation._stainless import members
from llmtrace.instrumentation._streams import Reader
from llmtrace.model import (
    Generic,
    Message,
    Part,
    ServerToolCall,
    ServerToolResult,
    ToolCall,
    ToolResult,
    Usage,
)

_ROLES = {"message.input": "user", "function.result": "tool"}
_ABOUT = ("object", "created_at", "completed_at")


def is_set(value: Any) -> bool:
    return value is not None and type(value).__name__ != "Unset"


def set_members(thing: Any) -> dict[str, Any]:
    """Return the members that are set. The SDK's models mark those that are not."""
    return {name: value for name, value in members(thing).items() if is_set(value)}


def conversation_named(conversation_id: Any) -> dict[str, Any] | None:
    return {semconv.CONVERSATION_ID: conversation_id} if isinstance(conversation_id, str) else None


def read_entry(raw: Any) -> Message:
    entry = set_members(raw)
    return Message(str(entry.get("role") or _ROLES.get(_kind(entry), "assistant")), tuple(_parts(raw)), cache={})


def _kind(entry: Mapping[str, Any]) -> str:
    return str(entry.get("type") or ("function.result" if "result" in entry else "message.input"))


def _parts(raw: Any) -> list[Part]:
    entry = set_members(raw)
    kind = _kind(entry)
    try:
        return list(_entry(kind, entry))
    except Exception:  # not in the form that its kind has
        return [Generic(kind, details(entry, *_ABOUT) or {"value": to_json(raw)})]


def _entry(kind: str, entry: Mapping[str, Any]) -> Iterator[Part]:
    if kind in ("message.input", "message.output"):
        content = entry["content"]
        if isinstance(content, str):
            content = [content] if content else []
        yield from (read_part(piece if isinstance(piece, str) else set_members(piece)) for piece in content)
    elif kind == "function.call":
        yield ToolCall(entry["name"], arguments(entry.get("arguments")), entry.get("tool_call_id"))
    elif kind == "function.result":
        yield ToolResult(to_json(entry["result"]), entry.get("tool_call_id"))
    elif kind == "tool.execution":
        name, entry_id = str(to_json(entry["name"])), entry.get("id")
        yield ServerToolCall(name, {"type": name, "arguments": arguments(entry.get("arguments"))}, entry_id)
        if entry.get("info"):
            yield ServerToolResult({"type": name, "info": to_json(entry["info"])}, entry_id)
    else:
        yield Generic(kind, details(entry, *_ABOUT))


def read_conversation(conversation: Mapping[str, Any]) -> Fields:
    entries = [set_members(entry) for entry in conversation.get("outputs") or ()]
    calls = any(entry.get("type") == "function.call" for entry in entries)
    counts = set_members(conversation.get("usage"))
    usage, input_tokens = None, counts.get("prompt_tokens")
    if input_tokens is not None:  # what connectors (tools that Mistral runs) add to the prompt is counted beside
        usage = Usage(input_tokens + counts.get("connector_tokens", 0), counts.get("completion_tokens"))
    return {**_begun(conversation, entries, "tool_call" if calls else "stop"), "usage": usage}


def _begun(conversation: Mapping[str, Any], entries: list[dict[str, Any]], reason: str | None) -> Fields:
    parts = tuple([part for entry in entries for part in _parts(entry)])
    return {
        "response_model": next((entry["model"] for entry in entries if entry.get("model")), None),
        "output": (Message("assistant", parts, finish_reason=reason),) if parts or reason else (),
        "finish_reasons": (reason,) if reason else (),
        "attributes": conversation_named(conversation.get("conversation_id")),
    }


class ConversationReader(Reader):
    def __init__(self) -> None:
        self._fields: dict[str, Any] = {}
        """Members of the conversation, except its entries."""
        self._entries: dict[int, _Entry] = {}
        self._is_last = False
        self._error: Mapping[str, Any] | None = None

    def feed(self, chunk: Any) -> None:
        self.add(members(chunk).get("data"))

    def add(self, data: Any) -> None:
        event = set_members(data)
        kind = event.get("type")
        if kind == "conversation.response.error":
            self._error = event
        elif kind in ("conversation.response.started", "conversation.response.done"):
            self._fields.update(event)
            self._is_last = kind == "conversation.response.done"
        elif kind is not None and "id" in event:
            self._entries.setdefault(event.get("output_index") or 0, _Entry()).add(event)

    def fields(self) -> Fields:
        written = self._entries.copy()
        entries = [written[index].whole() for index in sorted(written)]
        fields = (
            read_conversation({**self._fields, "outputs": entries}) if self._is_last else _begun(self._fields, entries, None)
        )
        fields["partial"] = not self._is_last  # also where the rest of the stream was left
        if self._error is not None:
            fields["failure"] = failure_reported(self._error)
        return fields


class _Entry:
    def __init__(self) -> None:
        self._fields: dict[str, Any] = {}
        self._arguments: list[str] = []
        self._content: list[tuple[int, list[dict[str, Any]]]] = []
        """Pieces of content by their index. A piece that arrives in several events has several members."""

    def add(self, event: Mapping[str, Any]) -> None:
        self._fields["type"] = str(event["type"]).rpartition(".")[0]
        for name, value in event.items():
            if name == "arguments":
                self._arguments.append(value)
            elif name == "content":
                self._write(
                    event.get("content_index") or 0,
                    {"type": "text", "text": value} if isinstance(value, str) else set_members(value),
                )
            elif name not in ("type", "created_at", "output_index", "content_index"):
                self._fields[name] = value

    def _write(self, index: int, bit: dict[str, Any]) -> None:
        if self._content and bit.get("type") in ("text", "thinking"):
            last, bits = self._content[-1]
            if last == index and bits[0].get("type") == bit["type"]:
                bits.append(bit)
                return
        self._content.append((index, [bit]))

    def whole(self) -> dict[str, Any]:
        """Return the entry as in an unstreamed answer."""
        entry = dict(self._fields)
        if entry["type"] == "message.output":
            entry["content"] = content = []
            for _, (first, *more) in self._content:
                if first.get("type") == "text":
                    first = {**first, "text": "".join(bit.get("text") or "" for bit in (first, *more))}
                elif first.get("type") == "thinking":
                    first = {**first, "thinking": [piece for bit in (first, *more) for piece in bit.get("thinking") or ()]}
                content.append(first)
        if self._arguments:
            entry["arguments"] = "".join(self._arguments)
        return entry
