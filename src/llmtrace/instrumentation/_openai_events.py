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
    """What a kind of delta makes grow: a member of an item, or of a part in the list that the item's member is."""

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
    """One item of the answer. What is done has no texts that grow."""

    __slots__ = ("annotations", "said", "texts")

    def __init__(self, said: Mapping[str, Any]) -> None:
        self.said = said
        self.texts: dict[tuple[str, int], tuple[_Growth, StringIO]] = {}
        """By the member, and the place in it."""
        self.annotations: dict[int, list[Any]] = {}

    def grow(self, growth: _Growth, place: int) -> StringIO:
        known = self.texts.get((growth.member, place))
        if known is None:
            known = self.texts[growth.member, place] = growth, StringIO()  # grows in place and keeps no delta alive
        return known[1]

    def whole(self) -> Mapping[str, Any]:
        """The item as an answer that ended here would have it."""
        found: dict[str, Any] = {}
        for (member, place), (growth, text) in sorted(self.texts.items(), key=lambda one: one[0]):
            if growth.part:
                annotations = self.annotations.get(place) if member == "content" else None
                part = {"type": growth.part, growth.part_member: text.getvalue(), "annotations": annotations}
                found[member] = [*found.get(member, ()), part]
            else:
                found[member] = text.getvalue()
        return {**self.said, **found}


class EventReader(Chunks):
    """`Reader` of a stream's events. ``read``: from an answer, as its members, to the fields of the operation."""

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
        """Take in an event. A delta of a text that is known is the usual one: it is appended by one look-up."""
        try:
            said = event.__dict__
            self._writers[said["type"], said["output_index"], said.get("content_index")](said["delta"])
            return
        except (AttributeError, KeyError, TypeError):  # another kind of event, or the first delta of a text
            pass
        self.add(event)

    def add(self, event: Any) -> None:
        """Take in an event of any kind: a model, or its JSON."""
        said = members(event)
        kind = said.get("type")
        if kind in _DELTAS:
            self._grow(kind, said)
        elif kind in ("response.output_item.added", "response.output_item.done"):
            self._items[said.get("output_index") or 0] = _Item(members(said.get("item")))
        elif kind == "response.output_text.annotation.added":
            item = self._item(said, "message")
            item.annotations.setdefault(said.get("content_index") or 0, []).append(said.get("annotation"))
        elif kind == "error":
            self._error = said
        elif said.get("response") is not None:
            self._response = members(said["response"])
            self._is_last = kind in _LAST

    def _grow(self, kind: str, said: Mapping[str, Any]) -> None:
        growth = _DELTAS[kind]
        text = self._item(said, growth.item).grow(growth, said.get(growth.place) or 0)
        text.write(said["delta"])
        if growth.place == "content_index":
            self._writers[kind, said.get("output_index") or 0, said.get("content_index")] = text.write

    def _item(self, said: Mapping[str, Any], kind: str) -> _Item:
        """The item that an event is about; one whose beginning was not seen is opened."""
        index = said.get("output_index") or 0
        item = self._items.get(index)
        if item is None:
            item = self._items[index] = _Item({"type": kind, "role": "assistant"} if kind == "message" else {"type": kind})
        return item

    def fields(self) -> Fields:
        said = {"status": "in_progress", **self._response}
        if not said.get("output"):
            items = self._items.copy()
            said["output"] = [items[index].whole() for index in sorted(items)]
        fields = self._read(said)
        fields["partial"] = not self._is_last  # also where the rest of the stream was left
        if self._error is not None:
            fields["failure"] = failure_reported(self._error)
        return fields
