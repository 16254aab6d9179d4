"""An Anthropic message, put together from the events of its stream. Told at any moment, from any thread."""

from __future__ import annotations

from collections.abc import Mapping
from io import StringIO
from typing import Any

from llmtrace.codec.finish_reasons import finish_reason
from llmtrace.instrumentation._anthropic_blocks import read_message, read_usage
from llmtrace.instrumentation._provider import Fields
from llmtrace.instrumentation._stainless import Chunks, members

_TEXTS = {
    "text_delta": ("text", "text"),
    "input_json_delta": ("partial_json", "input"),
    "thinking_delta": ("thinking", "thinking"),
    "signature_delta": ("signature", "signature"),
    "compaction_delta": ("content", "content"),
}
"""Kind of delta to the name of the text in it, and of the member of the block that it is a piece of."""


class _Block:
    """One content block: its start, and the texts that were added to it."""

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
        """Return the block as an unstreamed answer would hold it, but with a tool's input as text."""
        block = dict(self.begun)
        for member, text in self.texts.items():
            value = text.getvalue()
            if value or member != "input":  # a tool without parameters: its input was whole from the start
                block[member] = value
        if self.citations:
            block["citations"] = [*(self.begun.get("citations") or ()), *self.citations]
        return block


class EventReader(Chunks):
    """`Reader` of the events of a message stream."""

    __slots__ = ("_blocks", "_counts", "_message", "_stop", "_stop_details")

    def __init__(self) -> None:
        self._message: Mapping[str, Any] = {}
        self._blocks: dict[int, _Block] = {}
        self._counts: dict[str, Any] = {}
        """Usage: each count as it was told last."""
        self._stop: str | None = None
        self._stop_details: Any = None

    def feed(self, event: Any) -> None:
        """Read an event of the SDK. Most events are a piece of a block."""
        try:
            fields = event.__dict__
            if fields["type"] == "content_block_delta":
                self._blocks[fields["index"]].add(fields["delta"].__dict__)
                return
        except (AttributeError, KeyError):  # JSON, a block that never began, a delta of a kind that is not known here
            pass
        self.add(event)

    def add(self, event: Any) -> None:
        """Read an event of any kind: a model or its JSON."""
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
