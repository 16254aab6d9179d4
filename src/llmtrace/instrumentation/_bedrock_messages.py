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

FINISH_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "tool_call",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "guardrail_intervened": "content_filter",
    "content_filtered": "content_filter",
    "malformed_model_output": "error",
    "malformed_tool_use": "error",
}
"""Bedrock's word to the conventions' word."""

_SERVER_TOOL = "server_tool_use"


def read_message(raw: Any, finish_reason: str | None = None) -> Message:
    """A message of a request or of an answer. ``finish_reason``: the conventions' word."""
    said = raw if isinstance(raw, Mapping) else {"content": raw}
    role = str(to_json(said.get("role")) or "unknown")
    return Message(role, read_blocks(said.get("content"), role), finish_reason=finish_reason, cache={})


def read_blocks(raw: Any, role: str = "") -> tuple[Part, ...]:
    """The content of a message, or the system prompt."""
    if isinstance(raw, str):
        return (Text(raw),) if raw else ()
    if not isinstance(raw, (list, tuple)):
        return () if raw is None else (Generic("content", {"content": to_json(raw)}),)
    return tuple([part for block in raw for part in _parts(block, role)])


def _parts(block: Any, role: str) -> Iterator[Part]:
    kind: Any
    given: Any
    kind, given = next(iter(block.items())) if isinstance(block, Mapping) and len(block) == 1 else (None, None)
    try:
        if kind == "toolResult" and role == "assistant":
            yield server_result(given, given.get("content"))
        else:
            yield from _READERS[kind](given)
    except Exception:  # of a kind not known here, or not in the form that its kind has
        yield Generic(str(kind or "content"), {str(kind or "content"): to_json(block if kind is None else given)})


def _text(given: Any) -> Iterator[Part]:
    if not isinstance(given, str):
        raise TypeError
    if given:
        yield Text(given)


def _tool_use(given: Mapping[str, Any]) -> Iterator[Part]:
    yield tool_call(given["name"], to_json(given.get("input")), given.get("toolUseId"), given.get("type"))


def tool_call(name: str, arguments: JsonValue, call_id: str | None, kind: str | None) -> Part:
    """A call that the program is to run, or that Bedrock runs itself."""
    if kind == _SERVER_TOOL:
        return ServerToolCall(name, {"type": name, "input": arguments}, call_id)
    return ToolCall(name, arguments, call_id)


def server_result(given: Mapping[str, Any], content: Any) -> Part:
    """What a tool answered that Bedrock runs itself."""
    said = {name: to_json(value) for name, value in given.items() if name not in ("toolUseId", "content")}
    return ServerToolResult({"type": "tool_result", **said, "content": to_json(content)}, given.get("toolUseId"))


def _tool_result(given: Mapping[str, Any]) -> Iterator[Part]:
    result = _result(given.get("content") or [])
    if given.get("status") == "error":
        result = {"is_error": True, "content": result}
    yield ToolResult(result, given.get("toolUseId"))


def _result(content: Any) -> JsonValue:
    """What the tool answered: its JSON where that is all, its text, else all that it gave."""
    if len(content) == 1 and content[0].keys() == {"json"}:
        return to_json(content[0]["json"])
    texts = [block["text"] for block in content if block.keys() == {"text"}]
    return "\n".join(texts) if texts and len(texts) == len(content) else to_json(content)


def _reasoning(given: Mapping[str, Any]) -> Iterator[Part]:
    """What the model thought. Its signature is of use to Bedrock only."""
    if "reasoningText" in given:
        yield Reasoning(given["reasoningText"]["text"])
    else:
        yield redacted_reasoning(given["redactedContent"])


def redacted_reasoning(data: bytes | str) -> Part:
    """What the model thought, as bytes that only Bedrock can read."""
    return Generic("redacted_reasoning", {"data": _base64(data)})


def _citations(given: Mapping[str, Any]) -> Iterator[Part]:
    yield Text("".join([piece["text"] for piece in given.get("content") or ()]))
    if given.get("citations"):
        yield citations(given["citations"])


def citations(given: Any) -> Part:
    return Generic("citations", {"citations": to_json(given)})


def _guard_content(given: Mapping[str, Any]) -> Iterator[Part]:
    """What a guardrail is to look at: text or an image like any other."""
    yield from (Text(given["text"]["text"]),) if "text" in given else _media("image")(given["image"])


def _media(modality: str) -> Callable[[Mapping[str, Any]], Iterator[Part]]:
    """``{"format": …, "source": {"bytes": …} or {"s3Location": {"uri": …}}}``; of documents also plain text."""

    def read(given: Mapping[str, Any]) -> Iterator[Part]:
        source = given["source"]
        mime = _mime(modality, given.get("format"))
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
    """As text. It is text already where it comes from JSON."""
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
    """The tools of a ``toolConfig``. Cache points among them are none."""
    return tuple([_tool(tool) for tool in raw if not (isinstance(tool, Mapping) and "cachePoint" in tool)])


def _tool(raw: Any) -> ToolDefinition:
    system = raw.get("systemTool") if isinstance(raw, Mapping) else None
    if isinstance(system, Mapping):
        return ToolDefinition(str(system.get("name")), type="systemTool", cache={})
    return read_definition(raw)


def read_usage(raw: Any) -> Usage | None:
    """Token counts as billed. Bedrock counts what is read from or written to a cache beside the input; here it is within."""
    if not isinstance(raw, Mapping):
        return None
    given, read, written = raw.get("inputTokens"), _cached(raw, "Read"), _cached(raw, "Write")
    total = None if given is None else given + (read or 0) + (written or 0)
    hour = sum(one.get("inputTokens") or 0 for one in raw.get("cacheDetails") or () if one.get("ttl") == "1h")
    return Usage(total, raw.get("outputTokens"), read, written, cache_write_1h_input_tokens=hour or None)


def _cached(raw: Mapping[str, Any], how: str) -> int | None:
    """Converse says ``cacheReadInputTokens``, Nova's own form ``cacheReadInputTokenCount``, some answers both."""
    found = raw.get(f"cache{how}InputTokens")
    return raw.get(f"cache{how}InputTokenCount") if found is None else found
