"""The entries of Mistral's conversations, of a request or an answer, as dicts or as the SDK's models, in llmtrace's words.

Law: nothing raises and nothing is lost: an entry or a piece of content of a kind that is not known here is kept whole. An
answer is one message, made of all its entries in their order; a request's input is one message an entry.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from llmtrace import semconv
from llmtrace.content import to_json
from llmtrace.instrumentation._failures import failure_reported
from llmtrace.instrumentation._openai_messages import arguments, read_part
from llmtrace.instrumentation._provider import Fields
from llmtrace.instrumentation._stainless import members
from llmtrace.instrumentation._streams import Reader
from llmtrace.model import (
    Generic,
    JsonValue,
    Message,
    Part,
    ServerToolCall,
    ServerToolResult,
    ToolCall,
    ToolResult,
    Usage,
)

_ROLES = {"message.input": "user", "function.result": "tool"}
_ABOUT = frozenset({"type", "object", "created_at", "completed_at"})


def is_set(value: Any) -> bool:
    return value is not None and type(value).__name__ != "Unset"


def told(thing: Any) -> dict[str, Any]:
    """The members that say something: the SDK's models have a mark for each that was not given."""
    return {name: held for name, held in members(thing).items() if is_set(held)}


def conversation_named(conversation_id: Any) -> dict[str, Any] | None:
    return {semconv.CONVERSATION_ID: conversation_id} if isinstance(conversation_id, str) else None


# -- entries


def read_entry(raw: Any) -> Message:
    """An entry of a request's input: one message."""
    said = told(raw)
    return Message(str(said.get("role") or _ROLES.get(_kind(said), "assistant")), tuple(_parts(raw)), cache={})


def _kind(said: Mapping[str, Any]) -> str:
    return str(said.get("type") or ("function.result" if "result" in said else "message.input"))


def _parts(raw: Any) -> list[Part]:
    said = told(raw)
    kind = _kind(said)
    try:
        return list(_entry(kind, said))
    except Exception:  # not in the form that its kind has
        return [Generic(kind, _kept(said) or {"value": to_json(raw)})]


def _entry(kind: str, said: Mapping[str, Any]) -> Iterator[Part]:
    if kind in ("message.input", "message.output"):
        content = said["content"]
        if isinstance(content, str):
            content = [content] if content else []
        yield from (read_part(one if isinstance(one, str) else told(one)) for one in content)
    elif kind == "function.call":
        yield ToolCall(said["name"], arguments(said.get("arguments")), said.get("tool_call_id"))
    elif kind == "function.result":
        yield ToolResult(to_json(said["result"]), said.get("tool_call_id"))
    elif kind == "tool.execution":
        name, entry_id = str(to_json(said["name"])), said.get("id")
        yield ServerToolCall(name, {"type": name, "arguments": arguments(said.get("arguments"))}, entry_id)
        if said.get("info"):
            yield ServerToolResult({"type": name, "info": to_json(said["info"])}, entry_id)
    else:
        yield Generic(kind, _kept(said))


def _kept(said: Mapping[str, Any]) -> dict[str, JsonValue]:
    return {name: to_json(held) for name, held in said.items() if name not in _ABOUT}


# -- answers


def read_conversation(said: Mapping[str, Any]) -> Fields:
    """The fields of an answer that has come whole."""
    entries = [told(one) for one in said.get("outputs") or ()]
    calls = any(one.get("type") == "function.call" for one in entries)
    return {**_begun(said, entries, "tool_call" if calls else "stop"), "usage": _usage(said.get("usage"))}


def _begun(said: Mapping[str, Any], entries: list[dict[str, Any]], reason: str | None) -> Fields:
    parts = tuple([part for one in entries for part in _parts(one)])
    return {
        "response_model": next((one["model"] for one in entries if one.get("model")), None),
        "output": (Message("assistant", parts, finish_reason=reason),) if parts or reason else (),
        "finish_reasons": (reason,) if reason else (),
        "attributes": conversation_named(said.get("conversation_id")),
    }


def _usage(raw: Any) -> Usage | None:
    """Token counts: input includes what tools of Mistral's, connectors, put into the prompt."""
    usage = told(raw)
    given = usage.get("prompt_tokens")
    if given is None:
        return None
    return Usage(given + usage.get("connector_tokens", 0), usage.get("completion_tokens"))


class ConversationReader(Reader):
    """`Reader` of ``ConversationEvents``."""

    def __init__(self) -> None:
        self._said: dict[str, Any] = {}
        """What is known of the conversation, besides its entries."""
        self._entries: dict[int, _Entry] = {}
        self._is_last = False
        self._error: Mapping[str, Any] | None = None

    def feed(self, chunk: Any) -> None:
        self.add(members(chunk).get("data"))

    def add(self, data: Any) -> None:
        event = told(data)
        kind = event.get("type")
        if kind == "conversation.response.error":
            self._error = event
        elif kind in ("conversation.response.started", "conversation.response.done"):
            self._said.update(event)
            self._is_last = kind == "conversation.response.done"
        elif kind is not None and "id" in event:
            self._entries.setdefault(event.get("output_index") or 0, _Entry()).add(event)

    def fields(self) -> Fields:
        written = self._entries.copy()
        entries = [written[index].whole() for index in sorted(written)]
        fields = read_conversation({**self._said, "outputs": entries}) if self._is_last else _begun(self._said, entries, None)
        fields["partial"] = not self._is_last  # also where the rest of the stream was left
        if self._error is not None:
            fields["failure"] = failure_reported(self._error)
        return fields


class _Entry:
    """One entry, as its events tell it."""

    def __init__(self) -> None:
        self._said: dict[str, Any] = {}
        self._arguments: list[str] = []
        self._content: list[tuple[int, list[dict[str, Any]]]] = []
        """Pieces of content by their index; one that is written bit by bit has several bits."""

    def add(self, event: Mapping[str, Any]) -> None:
        self._said["type"] = str(event["type"]).rpartition(".")[0]
        for name, held in event.items():
            if name == "arguments":
                self._arguments.append(held)
            elif name == "content":
                self._write(
                    event.get("content_index") or 0, {"type": "text", "text": held} if isinstance(held, str) else told(held)
                )
            elif name not in ("type", "created_at", "output_index", "content_index"):
                self._said[name] = held

    def _write(self, index: int, bit: dict[str, Any]) -> None:
        if self._content and bit.get("type") in ("text", "thinking"):
            last, bits = self._content[-1]
            if last == index and bits[0].get("type") == bit["type"]:
                bits.append(bit)
                return
        self._content.append((index, [bit]))

    def whole(self) -> dict[str, Any]:
        """The entry as a whole answer would have it."""
        found = dict(self._said)
        if found["type"] == "message.output":
            found["content"] = [_joined(bits) for _, bits in self._content]
        if self._arguments:
            found["arguments"] = "".join(self._arguments)
        return found


def _joined(bits: list[dict[str, Any]]) -> dict[str, Any]:
    kind = bits[0].get("type")
    if kind == "text":
        return {**bits[0], "text": "".join(one.get("text") or "" for one in bits)}
    if kind == "thinking":
        return {**bits[0], "thinking": [piece for one in bits for piece in one.get("thinking") or ()]}
    return bits[0]
