"""Converts Anthropic's messages and content blocks (dicts or the SDK's models) to messages of `llmtrace.model`.

Laws: nothing raises, and no content is lost. A block of an unknown kind is kept whole as `Generic`, and so are members beside a
text or a thought (citations, a signature), directly after it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from io import StringIO
from typing import Any

from llmtrace.codec.finish_reasons import finish_reason
from llmtrace.content import to_json
from llmtrace.instrumentation._openai_messages import arguments, as_text, details, tool_output
from llmtrace.instrumentation._provider import Fields
from llmtrace.instrumentation._stainless import members
from llmtrace.instrumentation._streams import Reader
from llmtrace.model import (
    Blob,
    Compaction,
    File,
    Generic,
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

_MEDIA = {"image": "image", "document": "file"}
"""Modality of each kind of block with a source."""

_OF_THE_CONVENTIONS = ("text", "compaction")
"""Kinds of blocks with the same name as a part of the conventions. If such a block is malformed, it must not be recorded under
that name."""


def read_message(raw: Any, stop_reason: str | None = None) -> Message:
    """Read a message of a request or an answer. ``stop_reason``: in Anthropic's words."""
    message = members(raw)
    role, content = message.get("role"), message.get("content")
    if role is None and content is None:
        parts: tuple[Part, ...] = (Generic("message", to_json(message) if message else {"value": to_json(raw)}),)
    else:
        parts = read_content(content)
    if message.get("stop_details"):
        parts = (*parts, Generic("stop_details", details(members(message["stop_details"]))))
    reason = finish_reason(stop_reason) if stop_reason else None
    return Message(str(to_json(role) or "unknown"), parts, finish_reason=reason, cache={})


def read_content(content: Any) -> tuple[Part, ...]:
    """Read a text or a list of blocks. An iterator is not read, because only the SDK may consume it."""
    if isinstance(content, str):
        return (Text(content),) if content else ()
    if isinstance(content, (list, tuple)):
        return tuple([part for block in content for part in read_block(block)])
    return () if content is None else (Generic("content", {"content": to_json(content)}),)


def read_block(raw: Any) -> tuple[Part, ...]:
    if isinstance(raw, str):
        return (Text(raw),)
    block = members(raw)
    try:
        return tuple(_parts(str(block.get("type")), block))
    except Exception:  # of a kind not known here, or not in the form that its kind has
        return (_generic(block),)


def _generic(block: Mapping[str, Any]) -> Generic:
    kind = str(block.get("type"))
    return Generic(f"{kind}_block" if kind in _OF_THE_CONVENTIONS else kind, details(block))


def _parts(kind: str, block: Mapping[str, Any]) -> Iterator[Part]:
    if kind == "text":
        yield from [Text(as_text(block["text"]))] if block["text"] != "" else []
        if block.get("citations"):
            yield Generic("citations", details({"citations": block["citations"]}))
    elif kind == "thinking":
        yield from [Reasoning(as_text(block["thinking"]))] if block.get("thinking") else []
        if block.get("signature"):
            yield Generic("signature", {"signature": as_text(block["signature"])})
    elif kind == "tool_result":
        yield from _tool_result(block)
    elif kind.endswith("_tool_result"):
        yield ServerToolResult({"type": kind, **details(block, "tool_use_id")}, block["tool_use_id"])
    elif kind in ("tool_use", "server_tool_use", "mcp_tool_use"):
        yield _tool_call(kind, block)
    elif kind == "compaction":
        content = block.get("content")
        yield Compaction(None if content is None else as_text(content))
    elif kind == "container_upload":
        yield File(as_text(block["file_id"]), "file")
    else:
        yield from _media(_MEDIA[kind], block)


def _tool_call(kind: str, block: Mapping[str, Any]) -> Part:
    name, values, call_id = as_text(block["name"]), arguments(block.get("input")), block.get("id")
    if kind == "tool_use":
        return ToolCall(name, values, call_id)
    kind = name if kind == "server_tool_use" else kind
    return ServerToolCall(name, {"type": kind, **details(block, "id", "name", "input"), "input": values}, call_id)


def _tool_result(block: Mapping[str, Any]) -> Iterator[Part]:
    """Read a tool's result. Images and documents become parts of their own, so that their bytes are handled as bytes."""
    content = block.get("content")
    media: list[Any] = []
    if isinstance(content, (list, tuple)) and content:
        blocks = [members(part) for part in content]
        media = [part for part in blocks if part.get("type") in _MEDIA]
        content = [part for part in blocks if part.get("type") not in _MEDIA] or ""
    yield ToolResult(tool_output(content, is_error=bool(block.get("is_error"))), block.get("tool_use_id"))
    for part in media:
        yield from read_block(part)


def _media(modality: str, block: Mapping[str, Any]) -> Iterator[Part]:
    source = members(block["source"])
    kind, mime = source.get("type"), source.get("media_type")
    if kind == "base64":
        data = source.get("data")
        yield Blob(modality, mime, data if isinstance(data, str) else None)  # a file is the SDK's to read
    elif kind == "url":
        yield Uri(as_text(source["url"]), modality, mime)
    elif kind == "file":
        yield File(as_text(source["file_id"]), modality, mime)
    elif kind == "text":
        yield Text(as_text(source["data"]))
    elif kind == "content":
        yield from read_content(source["content"])
    else:
        raise ValueError(kind)
    about = details(block, "source", "cache_control", "citations")
    if about:  # its title, and what else the model is told of it
        yield Generic(block["type"], about)


def read_usage(raw: Any) -> Usage | None:
    """Read token counts as billed. Anthropic's ``input_tokens`` exclude cached tokens; ours include them."""
    if raw is None:
        return None
    usage = members(raw)
    fresh, read, written = (
        usage.get(name) for name in ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    )
    return Usage(
        None if fresh is None else fresh + (read or 0) + (written or 0),
        usage.get("output_tokens"),
        read,
        written,
        members(usage.get("output_tokens_details")).get("thinking_tokens"),
        members(usage.get("cache_creation")).get("ephemeral_1h_input_tokens") or None,
    )


_TEXTS = {
    "text_delta": ("text", "text"),
    "input_json_delta": ("partial_json", "input"),
    "thinking_delta": ("thinking", "thinking"),
    "signature_delta": ("signature", "signature"),
    "compaction_delta": ("content", "content"),
}
"""For each kind of delta: the name of its text, and the member of the block that the text extends."""


class _Block:
    __slots__ = ("begun", "citations", "texts")

    def __init__(self, begun: Mapping[str, Any]) -> None:
        self.begun = begun
        self.texts: dict[str, StringIO] = {}  # a StringIO grows in place and keeps no delta alive
        self.citations: list[Any] = []

    def add(self, delta: Mapping[str, Any]) -> None:
        kind = delta["type"]
        if kind == "citations_delta":
            self.citations.append(delta.get("citation"))
            return
        name, member = _TEXTS[kind]
        piece = delta.get(name)
        if not isinstance(piece, str):
            return
        text = self.texts.get(member)
        if text is None:
            text = self.texts[member] = StringIO()
            before = self.begun.get(member)
            if isinstance(before, str):
                text.write(before)
        text.write(piece)

    def whole(self) -> dict[str, Any]:
        """Return the block as in an unstreamed answer, but with a tool's input as text."""
        block = dict(self.begun)
        for member, text in self.texts.items():
            value = text.getvalue()
            if value or member != "input":  # a tool without parameters: its input was whole from the start
                block[member] = value
        if self.citations:
            block["citations"] = [*(self.begun.get("citations") or ()), *self.citations]
        return block


class EventReader(Reader):
    __slots__ = ("_blocks", "_counts", "_message", "_stop", "_stop_details")

    def __init__(self) -> None:
        self._message: Mapping[str, Any] = {}
        self._blocks: dict[int, _Block] = {}
        self._counts: dict[str, Any] = {}
        """Usage: the last reported value of each count."""
        self._stop: str | None = None
        self._stop_details: Any = None

    def feed(self, event: Any) -> None:
        try:
            fields = event.__dict__
            if fields["type"] == "content_block_delta":
                self._blocks[fields["index"]].add(fields["delta"].__dict__)
                return
        except (AttributeError, KeyError):  # JSON, a block that never began, a delta of a kind that is not known here
            pass
        self.add(event)

    def add(self, event: Any) -> None:
        fields = members(event)
        kind = fields.get("type")
        if kind == "message_start":
            self._message = members(fields.get("message"))
            self._count({**members(self._message.get("usage")), "output_tokens": None})  # that one is only told at the end
        elif kind == "content_block_start":
            self._blocks[fields["index"]] = _Block(members(fields.get("content_block")))
        elif kind == "content_block_delta":
            delta = members(fields.get("delta"))
            if fields.get("index") in self._blocks and (delta.get("type") in _TEXTS or delta.get("type") == "citations_delta"):
                self._blocks[fields["index"]].add(delta)
        elif kind == "message_delta":
            delta = members(fields.get("delta"))
            self._stop = delta.get("stop_reason") or self._stop
            self._stop_details = delta.get("stop_details") or self._stop_details
            self._count(members(fields.get("usage")))

    def _count(self, usage: Mapping[str, Any]) -> None:
        self._counts.update({name: count for name, count in usage.items() if count is not None})

    def fields(self) -> Fields:
        fields: Fields = {"response_id": self._message.get("id"), "response_model": self._message.get("model")}
        if self._message or self._blocks:
            content = [self._blocks[index].whole() for index in sorted(self._blocks)]
            message = {"role": self._message.get("role") or "assistant", "content": content, "stop_details": self._stop_details}
            fields["output"] = (read_message(message, self._stop),)
        if self._counts:
            fields["usage"] = read_usage(self._counts)
        if self._stop is not None:
            fields["finish_reasons"] = (finish_reason(self._stop),)
            fields["partial"] = False  # also where the rest of the stream, which tells nothing more, was left
        return fields
