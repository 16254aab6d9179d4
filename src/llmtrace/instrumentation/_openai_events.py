"""An answer of OpenAI's Responses API, put together from the events of its stream. Told at any moment, from any thread.

The last event carries the whole answer, so a stream that is read to its end is told by that; until then by its items: those
that are done as they are, the one that is being written by its deltas.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from io import StringIO
from typing import Any, NamedTuple

from llmtrace.instrumentation._failures import failure_reported
from llmtrace.instrumentation._provider import Fields
from llmtrace.instrumentation._stainless import Chunks, members

_LAST = frozenset({"response.completed", "response.incomplete", "response.failed", "response.cancelled"})


class _Growth(NamedTuple):
    """What one kind of delta extends: a member of an item, or of a part in an item's list."""

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
    """One item of the answer. A finished item has no growing texts."""

    __slots__ = ("annotations", "start", "texts")

    def __init__(self, start: Mapping[str, Any]) -> None:
        self.start = start
        self.texts: dict[tuple[str, int], tuple[_Growth, StringIO]] = {}
        """By the member, and the place in it."""
        self.annotations: dict[int, list[Any]] = {}

    def grow(self, growth: _Growth, place: int) -> StringIO:
        entry = self.texts.get((growth.member, place))
        if entry is None:
            entry = self.texts[growth.member, place] = growth, StringIO()  # grows in place and keeps no delta alive
        return entry[1]

    def whole(self) -> Mapping[str, Any]:
        """Return the item as an answer that ended now would hold it."""
        grown: dict[str, Any] = {}
        for (member, place), (growth, text) in sorted(self.texts.items(), key=lambda entry: entry[0]):
            if growth.part:
                annotations = self.annotations.get(place) if member == "content" else None
                part = {"type": growth.part, growth.part_member: text.getvalue(), "annotations": annotations}
                grown[member] = [*grown.get(member, ()), part]
            else:
                grown[member] = text.getvalue()
        return {**self.start, **grown}


class EventReader(Chunks):
    """`Reader` of a stream's events. ``read`` converts an answer's members to fields of the operation."""

    __slots__ = ("_error", "_is_last", "_items", "_read", "_response", "_writers")

    def __init__(self, read: Callable[[Mapping[str, Any]], Fields]) -> None:
        self._read = read
        self._response: Mapping[str, Any] = {}
        """The newest state of the answer that the stream told."""
        self._is_last = False
        self._items: dict[int, _Item] = {}
        self._writers: dict[tuple[str, int, int | None], Callable[[str], Any]] = {}
        self._error: Mapping[str, Any] | None = None

    def feed(self, event: Any) -> None:
        """Read an event. The usual one, a delta of a known text, is appended by one look-up."""
        try:
            fields = event.__dict__
            self._writers[fields["type"], fields["output_index"], fields.get("content_index")](fields["delta"])
            return
        except (AttributeError, KeyError, TypeError):  # another kind of event, or the first delta of a text
            pass
        self.add(event)

    def add(self, event: Any) -> None:
        """Read an event of any kind: a model or its JSON."""
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
