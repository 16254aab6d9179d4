"""The items of OpenAI's Responses API, of a request or an answer, as dicts or as the SDK's models, in llmtrace's words.

Law: nothing raises and nothing is lost: an item of a kind that is not known here is kept whole. What the provider runs itself
(web search, file search, code interpreter, MCP …) needs no line per kind: ``<tool>_call`` is a call of that tool, what it
brought stands in the same item or in ``<tool>_call_output``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from llmtrace.content import to_json
from llmtrace.instrumentation._openai_messages import arguments, data_url, read_part
from llmtrace.instrumentation._stainless import members
from llmtrace.model import (
    Blob,
    Compaction,
    File,
    Generic,
    JsonValue,
    Message,
    Part,
    Reasoning,
    ServerToolCall,
    ServerToolResult,
    Text,
    ToolCall,
    ToolResult,
    Uri,
)

RAN_BY_PROGRAM = frozenset({"function_call", "custom_tool_call", "computer_call", "local_shell_call", "apply_patch_call"})
"""Kinds of items that wait for the program to run something and to say what came of it."""

_BROUGHT = frozenset({"error", "output", "outputs", "result", "results"})
"""Members of a call that the provider ran which tell what came of it."""


def read_item(raw: Any) -> Message:
    """An item of a request's input: one message."""
    said = members(raw)
    return Message(_role_of(said), item_parts(raw), cache={})


def _role_of(said: Mapping[str, Any]) -> str:
    role, kind = said.get("role"), said.get("type")
    if isinstance(role, str):
        return role
    if not isinstance(kind, str) or kind == "item_reference":
        return "unknown"
    return "tool" if kind.endswith(("_output", "_response")) else "assistant"


def item_parts(raw: Any) -> tuple[Part, ...]:
    """The parts that an item gives."""
    said = members(raw)
    kind = said.get("type") or ("message" if "role" in said else "item_reference" if "id" in said else "item")
    try:
        return tuple(_reader(kind)(said))
    except Exception:  # of a kind not known here, or not in the form that its kind has
        return (_generic(said or {"value": raw}, kind),)


def _reader(kind: Any) -> Callable[[Mapping[str, Any]], Any]:
    found = _READERS.get(kind)
    if found is not None:
        return found
    if kind.endswith("_call"):
        return _server_call
    if kind.endswith("_output"):
        return _server_result
    raise KeyError(kind)


def _generic(said: Mapping[str, Any], kind: Any) -> Generic:
    return Generic(str(kind), _kept(said))


def _kept(said: Mapping[str, Any], *left_out: str) -> dict[str, JsonValue]:
    """The members that say something, as JSON."""
    return {key: _told(to_json(held)) for key, held in said.items() if held is not None and key not in ("type", *left_out)}


def _told(value: JsonValue) -> JsonValue:
    """Without members that are null: the SDK's models have one for all that the server left out."""
    if isinstance(value, dict):
        return {key: _told(held) for key, held in value.items() if held is not None}
    return [_told(held) for held in value] if isinstance(value, list) else value


# -- messages and their content


def content_parts(content: Any) -> Iterator[Part]:
    if isinstance(content, str):
        if content:
            yield Text(content)
    elif isinstance(content, (list, tuple)):
        for part in content:
            yield from _content_part(part)
    elif content is not None:
        yield Generic("content", {"content": to_json(content)})


def _content_part(raw: Any) -> Iterator[Part]:
    said = members(raw)
    kind = said.get("type")
    reader = _MEDIA.get(kind)
    if kind in ("output_text", "input_text") and said.get("text") == "":
        return
    try:
        yield read_part(raw) if reader is None else reader(said)
    except Exception:  # not in the form that its kind has
        yield _generic(said, kind)
        return
    if said.get("annotations"):
        yield Generic("annotations", {"annotations": to_json(said["annotations"])})


def _image(said: Mapping[str, Any]) -> Part:
    return _located(said.get("image_url"), said.get("file_id"), "image")


def _file(said: Mapping[str, Any]) -> Part:
    if said.get("file_data"):
        content = said["file_data"]
        return data_url(content) if content.startswith("data:") else Blob("file", None, content)
    return _located(said.get("file_url"), said.get("file_id"), "file")


def _located(url: str | None, file_id: str | None, modality: str) -> Part:
    if url:
        return data_url(url, modality) if url.startswith("data:") else Uri(url, modality)
    if not file_id:
        raise ValueError
    return File(file_id, modality)


_MEDIA: dict[Any, Callable[[Mapping[str, Any]], Part]] = {
    "input_image": _image,
    "computer_screenshot": _image,
    "input_file": _file,
}


# -- what the model says besides messages


def _message(said: Mapping[str, Any]) -> Iterator[Part]:
    return content_parts(said.get("content"))


def _reasoning(said: Mapping[str, Any]) -> Iterator[Part]:
    """The summary and the reasoning itself, as far as they are shown; both may be kept back, or be encrypted."""
    shown = ["\n".join(members(one)["text"] for one in said.get(name) or ()) for name in ("summary", "content")]
    for text in filter(None, shown):
        yield Reasoning(text)
    if not any(shown):
        yield Reasoning("")


def _function_call(said: Mapping[str, Any]) -> Iterator[Part]:
    yield ToolCall(str(said.get("name") or ""), arguments(said.get("arguments")), said.get("call_id"))


def _custom_tool_call(said: Mapping[str, Any]) -> Iterator[Part]:
    yield ToolCall(str(said.get("name") or ""), said.get("input"), said.get("call_id"))


def _tool_result(said: Mapping[str, Any]) -> Iterator[Part]:
    """Text as the model was told it; images and files stand beside it."""
    output = said.get("output")
    if isinstance(output, (list, tuple)):
        parts = list(content_parts(output))
        texts = [part.content for part in parts if isinstance(part, Text)]
        yield ToolResult("\n".join(texts), said.get("call_id"))
        yield from (part for part in parts if not isinstance(part, Text))
    else:
        yield ToolResult(output if isinstance(output, str) else to_json(output), said.get("call_id"))


def _compaction(said: Mapping[str, Any]) -> Iterator[Part]:
    yield Compaction(None, said.get("id"))


def _additional_tools(_: Mapping[str, Any]) -> Iterator[Part]:
    """Definitions: they are among the request's tools."""
    return iter(())


# -- what the provider runs, or has run on the program's machine by a tool of its own


def _server_call(said: Mapping[str, Any]) -> Iterator[Part]:
    tool = said["type"].removesuffix("_call")
    asked = {"type": tool, **_kept(said, "id", "call_id", *_BROUGHT)}
    brought = _kept({name: said[name] for name in said if name in _BROUGHT})
    identity = said.get("call_id") or said.get("id")
    yield ServerToolCall(tool, asked, identity)
    if brought:
        yield ServerToolResult({"type": tool, **brought}, identity)


def _mcp_call(said: Mapping[str, Any]) -> Iterator[Part]:
    """A call of a tool that an MCP server has, made by the provider; by the tool's own name."""
    asked = {"type": "mcp", **_kept(said, "id", "name", "arguments", *_BROUGHT), "arguments": arguments(said.get("arguments"))}
    yield ServerToolCall(str(said.get("name") or ""), asked, said.get("id"))
    brought = _kept({name: said.get(name) for name in ("output", "error")})
    if brought:
        yield ServerToolResult({"type": "mcp", **brought}, said.get("id"))


def _mcp_list_tools(said: Mapping[str, Any]) -> Iterator[Part]:
    yield ServerToolResult({"type": "mcp_list_tools", **_kept(said, "id")}, said.get("id"))


def _image_generation(said: Mapping[str, Any]) -> Iterator[Part]:
    """The picture is a part of its own: outside memory it gives way to digest and size."""
    yield ServerToolCall("image_generation", {"type": "image_generation", **_kept(said, "id", "result")}, said.get("id"))
    if said.get("result"):
        yield Blob("image", f"image/{said.get('output_format') or 'png'}", said["result"])


def _server_result(said: Mapping[str, Any]) -> Iterator[Part]:
    tool = said["type"].removesuffix("_output").removesuffix("_call")
    output = said.get("output")
    shown = members(output)
    screenshot = shown.get("type") in _MEDIA if isinstance(shown.get("type"), str) else False
    left_out = ("id", "call_id", "output") if screenshot else ("id", "call_id")
    yield ServerToolResult({"type": tool, **_kept(said, *left_out)}, said.get("call_id") or said.get("id"))
    if screenshot:
        yield from _content_part(output)


_READERS: dict[Any, Callable[[Mapping[str, Any]], Iterator[Part]]] = {
    "additional_tools": _additional_tools,
    "message": _message,
    "reasoning": _reasoning,
    "function_call": _function_call,
    "function_call_output": _tool_result,
    "custom_tool_call": _custom_tool_call,
    "custom_tool_call_output": _tool_result,
    "compaction": _compaction,
    "mcp_call": _mcp_call,
    "mcp_list_tools": _mcp_list_tools,
    "image_generation_call": _image_generation,
    "program": lambda said: _server_call({**said, "type": "program_call"}),
}
