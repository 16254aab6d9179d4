"""Converts the items of OpenAI's Responses API, of a request or an answer (dicts or the SDK's models), to messages.

Law: nothing raises and nothing is lost. An item of an unknown kind is kept whole. Tools that the provider runs itself (web
search, file search, code interpreter, MCP …) need no code for each: ``<tool>_call`` is a call of that tool, and its result is
in the same item or in ``<tool>_call_output``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from io import StringIO
from typing import Any, NamedTuple

from llmtrace.content import to_json
from llmtrace.instrumentation._failures import failure_reported
from llmtrace.instrumentation._openai_messages import arguments, data_url, details, read_part
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
)

RAN_BY_PROGRAM = frozenset({"function_call", "custom_tool_call", "computer_call", "local_shell_call", "apply_patch_call"})
"""Kinds of items for which the program must run something and return the result."""

_RESULTS = frozenset({"error", "output", "outputs", "result", "results"})
"""Members with the result of a call that the provider ran."""


def read_item(raw: Any) -> Message:
    item = members(raw)
    return Message(_role_of(item), item_parts(raw), cache={})


def _role_of(item: Mapping[str, Any]) -> str:
    role, kind = item.get("role"), item.get("type")
    if isinstance(role, str):
        return role
    if not isinstance(kind, str) or kind == "item_reference":
        return "unknown"
    return "tool" if kind.endswith(("_output", "_response")) else "assistant"


def item_parts(raw: Any) -> tuple[Part, ...]:
    item = members(raw)
    kind = item.get("type") or ("message" if "role" in item else "item_reference" if "id" in item else "item")
    try:
        return tuple(_parts(str(kind), item))
    except Exception:  # of a kind not known here, or not in the form that its kind has
        return (_generic(item or {"value": raw}, kind),)


def _parts(kind: str, item: Mapping[str, Any]) -> Iterator[Part]:
    if kind == "message":
        yield from content_parts(item.get("content"))
    elif kind == "reasoning":
        yield from _reasoning(item)
    elif kind in ("function_call", "custom_tool_call"):
        # the input of a custom tool is no JSON
        values = item.get("input") if kind == "custom_tool_call" else arguments(item.get("arguments"))
        yield ToolCall(str(item.get("name") or ""), values, item.get("call_id"))
    elif kind in ("function_call_output", "custom_tool_call_output"):
        yield from _tool_result(item)
    elif kind == "compaction":
        yield Compaction(None, item.get("id"))
    elif kind == "mcp_list_tools":
        yield ServerToolResult({"type": kind, **details(item, "id")}, item.get("id"))
    elif kind == "image_generation_call":  # the picture is a part of its own, which is stored as digest and size
        yield ServerToolCall("image_generation", {"type": "image_generation", **details(item, "id", "result")}, item.get("id"))
        yield from [Blob("image", f"image/{item.get('output_format') or 'png'}", item["result"])] if item.get("result") else []
    elif kind != "additional_tools":  # they are among the request's tools
        yield from _server_parts(kind, item)


def _server_parts(kind: str, item: Mapping[str, Any]) -> Iterator[Part]:
    """Read what the provider runs, or has run on the program's machine by a tool of its own."""
    if kind == "program" or kind.endswith("_call"):
        yield from _server_call(kind.removesuffix("_call"), item)
    elif kind.endswith("_output"):
        yield from _server_result(kind.removesuffix("_output").removesuffix("_call"), item)
    else:
        raise KeyError(kind)


def _generic(item: Mapping[str, Any], kind: Any) -> Generic:
    return Generic(str(kind), details(item))


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
    part = members(raw)
    kind = part.get("type")
    reader = _MEDIA.get(kind)
    if kind in ("output_text", "input_text") and part.get("text") == "":
        return
    try:
        yield read_part(raw) if reader is None else reader(part)
    except Exception:  # not in the form that its kind has
        yield _generic(part, kind)
        return
    if part.get("annotations"):
        yield Generic("annotations", {"annotations": to_json(part["annotations"])})


def _image(part: Mapping[str, Any]) -> Part:
    return _located(part.get("image_url"), part.get("file_id"), "image")


def _file(part: Mapping[str, Any]) -> Part:
    content = part.get("file_data")
    if content:
        return data_url(content) if content.startswith("data:") else Blob("file", None, content)
    return _located(part.get("file_url"), part.get("file_id"), "file")


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


def _reasoning(item: Mapping[str, Any]) -> Iterator[Part]:
    """Read summary and reasoning, as far as they are shown; both may be withheld or encrypted."""
    shown = ["\n".join(members(piece)["text"] for piece in item.get(name) or ()) for name in ("summary", "content")]
    for text in filter(None, shown):
        yield Reasoning(text)
    if not any(shown):
        yield Reasoning("")


def _tool_result(item: Mapping[str, Any]) -> Iterator[Part]:
    """Read a tool's result: text as the model gets it, with images and files as further parts."""
    output = item.get("output")
    if isinstance(output, (list, tuple)):
        parts = list(content_parts(output))
        texts = [part.content for part in parts if isinstance(part, Text)]
        yield ToolResult("\n".join(texts), item.get("call_id"))
        yield from (part for part in parts if not isinstance(part, Text))
    else:
        yield ToolResult(output if isinstance(output, str) else to_json(output), item.get("call_id"))


def _server_call(tool: str, item: Mapping[str, Any]) -> Iterator[Part]:
    """Read a call; a tool of an MCP server keeps its own name."""
    name, identity = tool, item.get("call_id") or item.get("id")
    call = {"type": tool, **details(item, "id", "call_id", *_RESULTS)}
    if tool == "mcp":
        name = str(call.pop("name", None) or "")
        call["arguments"] = arguments(item.get("arguments"))
    yield ServerToolCall(name, call, identity)
    results = details({key: item[key] for key in item if key in _RESULTS})
    if results:
        yield ServerToolResult({"type": tool, **results}, identity)


def _server_result(tool: str, item: Mapping[str, Any]) -> Iterator[Part]:
    output = item.get("output")
    is_screenshot = str(members(output).get("type")) in _MEDIA
    left_out = ("id", "call_id", "output") if is_screenshot else ("id", "call_id")
    yield ServerToolResult({"type": tool, **details(item, *left_out)}, item.get("call_id") or item.get("id"))
    if is_screenshot:
        yield from _content_part(output)


# -- an answer, put together from the events of its stream
#
# The last event carries the whole answer, so a stream that is read to its end is told by that; until then by its items: those
# that are done as they are, the one that is being written by its deltas.

_LAST = frozenset({"response.completed", "response.incomplete", "response.failed", "response.cancelled"})


class _Growth(NamedTuple):
    """The target of one kind of delta: a member of an item, or of a part in an item's list."""

    item: str
    member: str
    part: str = ""
    part_member: str = "text"
    place: str = "content_index"


_DELTAS = {
    "response.output_text.delta": _Growth("message", "content", "output_text"),
    "response.refusal.delta": _Growth("message", "content", "refusal", "refusal"),
    "response.reasoning_text.delta": _Growth("reasoning", "content", "reasoning_text"),
    "response.reasoning_summary_text.delta": _Growth("reasoning", "summary", "summary_text", place="summary_index"),
    "response.function_call_arguments.delta": _Growth("function_call", "arguments"),
    "response.custom_tool_call_input.delta": _Growth("custom_tool_call", "input"),
    "response.mcp_call_arguments.delta": _Growth("mcp_call", "arguments"),
    "response.code_interpreter_call_code.delta": _Growth("code_interpreter_call", "code"),
}
"""By the type of the event."""


class _Item:
    __slots__ = ("annotations", "start", "texts")

    def __init__(self, start: Mapping[str, Any]) -> None:
        self.start = start
        self.texts: dict[tuple[str, int], tuple[_Growth, StringIO]] = {}
        """By the member, and the position in it."""
        self.annotations: dict[int, list[Any]] = {}

    def grow(self, growth: _Growth, place: int) -> StringIO:
        entry = self.texts.get((growth.member, place))
        if entry is None:
            entry = self.texts[growth.member, place] = growth, StringIO()  # grows in place and keeps no delta alive
        return entry[1]

    def whole(self) -> Mapping[str, Any]:
        """Return the item as in an answer that ended now."""
        grown: dict[str, Any] = {}
        for (member, place), (growth, text) in sorted(self.texts.items(), key=lambda entry: entry[0]):
            if growth.part:
                annotations = self.annotations.get(place) if member == "content" else None
                part = {"type": growth.part, growth.part_member: text.getvalue(), "annotations": annotations}
                grown[member] = [*grown.get(member, ()), part]
            else:
                grown[member] = text.getvalue()
        return {**self.start, **grown}


class EventReader(Reader):
    """`Reader` of a stream's events. ``read`` converts an answer's members to fields of the operation."""

    __slots__ = ("_error", "_is_last", "_items", "_read", "_response", "_writers")

    def __init__(self, read: Callable[[Mapping[str, Any]], Fields]) -> None:
        self._read = read
        self._response: Mapping[str, Any] = {}
        """The newest state of the answer in the stream."""
        self._is_last = False
        self._items: dict[int, _Item] = {}
        self._writers: dict[tuple[str, int, int | None], Callable[[str], Any]] = {}
        self._error: Mapping[str, Any] | None = None

    def feed(self, event: Any) -> None:
        """Read an event. The usual one, a delta of a known text, is appended with one look-up."""
        try:
            fields = event.__dict__
            self._writers[fields["type"], fields["output_index"], fields.get("content_index")](fields["delta"])
            return
        except (AttributeError, KeyError, TypeError):  # another kind of event, or the first delta of a text
            pass
        self.add(event)

    def add(self, event: Any) -> None:
        fields = members(event)
        kind = fields.get("type")
        if kind in _DELTAS:
            self._grow(kind, fields)
        elif kind in ("response.output_item.added", "response.output_item.done"):
            self._items[fields.get("output_index") or 0] = _Item(members(fields.get("item")))
        elif kind == "response.output_text.annotation.added":
            item = self._item(fields, "message")
            item.annotations.setdefault(fields.get("content_index") or 0, []).append(fields.get("annotation"))
        elif kind == "error":
            self._error = fields
        elif fields.get("response") is not None:
            self._response = members(fields["response"])
            self._is_last = kind in _LAST

    def _grow(self, kind: str, event: Mapping[str, Any]) -> None:
        growth = _DELTAS[kind]
        text = self._item(event, growth.item).grow(growth, event.get(growth.place) or 0)
        text.write(event["delta"])
        if growth.place == "content_index":
            self._writers[kind, event.get("output_index") or 0, event.get("content_index")] = text.write

    def _item(self, event: Mapping[str, Any], kind: str) -> _Item:
        index = event.get("output_index") or 0
        item = self._items.get(index)
        if item is None:
            item = self._items[index] = _Item({"type": kind, "role": "assistant"} if kind == "message" else {"type": kind})
        return item

    def fields(self) -> Fields:
        response = {"status": "in_progress", **self._response}
        if not response.get("output"):
            items = self._items.copy()
            response["output"] = [items[index].whole() for index in sorted(items)]
        fields = self._read(response)
        fields["partial"] = not self._is_last  # also where the rest of the stream was left
        if self._error is not None:
            fields["failure"] = failure_reported(self._error)
        return fields
