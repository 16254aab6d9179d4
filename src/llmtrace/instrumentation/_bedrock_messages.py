"""Messages of Bedrock's Converse form (also Nova's own) in llmtrace's words.

Law: nothing raises and nothing is lost: a block of a kind that is not known here is kept whole as `Generic`.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from llmtrace.content import to_json
from llmtrace.model import (
    Blob,
    Generic,
    JsonValue,
    Message,
    Part,
    Reasoning,
    ServerToolCall,
    ServerToolResult,
    Text,
    ToolCall,
    ToolDefinition,
    ToolResult,
    Uri,
    Usage,
)
from llmtrace.validation.tool_definitions import read_definition

_SERVER_TOOL = "server_tool_use"


def read_message(raw: Any, finish_reason: str | None = None) -> Message:
    """Read a message of a request or an answer. ``finish_reason``: the conventions' word."""
    message = raw if isinstance(raw, Mapping) else {"content": raw}
    role = str(to_json(message.get("role")) or "unknown")
    return Message(role, read_blocks(message.get("content"), role), finish_reason=finish_reason, cache={})


def read_blocks(raw: Any, role: str = "") -> tuple[Part, ...]:
    """Read the content of a message, or the system prompt."""
    if isinstance(raw, str):
        return (Text(raw),) if raw else ()
    if not isinstance(raw, (list, tuple)):
        return () if raw is None else (Generic("content", {"content": to_json(raw)}),)
    return tuple([part for block in raw for part in _parts(block, role)])


def _parts(block: Any, role: str) -> Iterator[Part]:
    kind: Any
    value: Any
    kind, value = next(iter(block.items())) if isinstance(block, Mapping) and len(block) == 1 else (None, None)
    try:
        if kind == "toolResult" and role == "assistant":
            yield server_result(value, value.get("content"))
        else:
            yield from _READERS[kind](value)
    except Exception:  # of a kind not known here, or not in the form that its kind has
        yield Generic(str(kind or "content"), {str(kind or "content"): to_json(block if kind is None else value)})


def _text(value: Any) -> Iterator[Part]:
    if not isinstance(value, str):
        raise TypeError
    if value:
        yield Text(value)


def _tool_use(block: Mapping[str, Any]) -> Iterator[Part]:
    yield tool_call(block["name"], to_json(block.get("input")), block.get("toolUseId"), block.get("type"))


def tool_call(name: str, arguments: JsonValue, call_id: str | None, kind: str | None) -> Part:
    """Return a call that the program runs, or one that Bedrock runs itself."""
    if kind == _SERVER_TOOL:
        return ServerToolCall(name, {"type": name, "input": arguments}, call_id)
    return ToolCall(name, arguments, call_id)


def server_result(block: Mapping[str, Any], content: Any) -> Part:
    """Return the result of a tool that Bedrock runs itself."""
    details = {name: to_json(value) for name, value in block.items() if name not in ("toolUseId", "content")}
    return ServerToolResult({"type": "tool_result", **details, "content": to_json(content)}, block.get("toolUseId"))


def _tool_result(block: Mapping[str, Any]) -> Iterator[Part]:
    result = _result(block.get("content") or [])
    if block.get("status") == "error":
        result = {"is_error": True, "content": result}
    yield ToolResult(result, block.get("toolUseId"))


def _result(content: Any) -> JsonValue:
    """Return a tool's result: its JSON or text if it is only that, else all of its content."""
    if len(content) == 1 and content[0].keys() == {"json"}:
        return to_json(content[0]["json"])
    texts = [block["text"] for block in content if block.keys() == {"text"}]
    return "\n".join(texts) if texts and len(texts) == len(content) else to_json(content)


def _reasoning(block: Mapping[str, Any]) -> Iterator[Part]:
    """Read the model's reasoning without its signature, which only Bedrock can use."""
    if "reasoningText" in block:
        yield Reasoning(block["reasoningText"]["text"])
    else:
        yield redacted_reasoning(block["redactedContent"])


def redacted_reasoning(data: bytes | str) -> Part:
    """Return reasoning that is redacted: bytes that only Bedrock can read."""
    return Generic("redacted_reasoning", {"data": _base64(data)})


def _citations(block: Mapping[str, Any]) -> Iterator[Part]:
    yield Text("".join([piece["text"] for piece in block.get("content") or ()]))
    if block.get("citations"):
        yield citations(block["citations"])


def citations(sources: Any) -> Part:
    return Generic("citations", {"citations": to_json(sources)})


def _guard_content(block: Mapping[str, Any]) -> Iterator[Part]:
    """Read content for a guardrail: a text or an image."""
    yield from (Text(block["text"]["text"]),) if "text" in block else _media("image")(block["image"])


def _media(modality: str) -> Callable[[Mapping[str, Any]], Iterator[Part]]:
    """``{"format": …, "source": {"bytes": …} or {"s3Location": {"uri": …}}}``; of documents also plain text."""

    def read(block: Mapping[str, Any]) -> Iterator[Part]:
        source = block["source"]
        mime = _mime(modality, block.get("format"))
        if "bytes" in source:
            yield Blob(modality, mime, _base64(source["bytes"]))
        elif "s3Location" in source:
            yield Uri(source["s3Location"]["uri"], modality, mime)
        else:
            yield Text(source["text"])

    return read


def _mime(modality: str, form: str | None) -> str | None:
    if form is None or modality == "file":
        return {
            "pdf": "application/pdf",
            "csv": "text/csv",
            "html": "text/html",
            "txt": "text/plain",
            "md": "text/markdown",
        }.get(form or "")
    return f"{modality}/{form}"


def _base64(data: bytes | str) -> str:
    """Return bytes as base64 text. From JSON they are text already."""
    return data if isinstance(data, str) else base64.b64encode(data).decode("ascii")


_READERS: dict[Any, Callable[[Any], Iterator[Part]]] = {
    "text": _text,
    "toolUse": _tool_use,
    "toolResult": _tool_result,
    "reasoningContent": _reasoning,
    "citationsContent": _citations,
    "guardContent": _guard_content,
    "image": _media("image"),
    "video": _media("video"),
    "audio": _media("audio"),
    "document": _media("file"),
}


# -- tools and usage


def read_tools(raw: Any) -> tuple[ToolDefinition, ...]:
    """Read the tools of a ``toolConfig``. Cache points among them are skipped."""
    return tuple([_tool(tool) for tool in raw if not (isinstance(tool, Mapping) and "cachePoint" in tool)])


def _tool(raw: Any) -> ToolDefinition:
    system = raw.get("systemTool") if isinstance(raw, Mapping) else None
    if isinstance(system, Mapping):
        return ToolDefinition(str(system.get("name")), type="systemTool", cache={})
    return read_definition(raw)


def read_usage(raw: Any) -> Usage | None:
    """Read token counts as billed. Bedrock counts cached tokens beside the input; ours includes them."""
    if not isinstance(raw, Mapping):
        return None
    input_tokens, read, written = raw.get("inputTokens"), _cached(raw, "Read"), _cached(raw, "Write")
    total = None if input_tokens is None else input_tokens + (read or 0) + (written or 0)
    hour = sum(detail.get("inputTokens") or 0 for detail in raw.get("cacheDetails") or () if detail.get("ttl") == "1h")
    return Usage(total, raw.get("outputTokens"), read, written, cache_write_1h_input_tokens=hour or None)


def _cached(raw: Mapping[str, Any], how: str) -> int | None:
    """Return a count of cached tokens: ``cacheReadInputTokens`` of Converse or ``cacheReadInputTokenCount`` of Nova."""
    count = raw.get(f"cache{how}InputTokens")
    return raw.get(f"cache{how}InputTokenCount") if count is None else count
